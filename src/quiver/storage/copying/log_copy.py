"""Copies one log: the segments that a checkpoint names, that checkpoint, and the entries after it.

The source may be written to, flushed, merged and collected meanwhile. What is copied is the log as of one commit:

* The newest checkpoint and all entries listed after it are read, in any order. That is a commit at or after the
  start, unless a newer checkpoint has appeared by then: entries may have been collected, and late puts may have
  filled their slots again. Then it begins anew with the newer one, as every replay does (`CommitLog`).
* A segment that is gone when its turn comes was collected because a newer checkpoint no longer names it: the same.
* An index that was cloned from another reads segments of that one, which pins them until the clone's newest
  checkpoint names them no more. So the clone waits until the other has been copied: then its pins are enough.
* What an earlier attempt or run left behind lies below the newer checkpoint, where nobody looks. For checkpoints
  only ever reach further: an entry that was real stays so, and one that was not lies at a slot passed long ago.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from quiver.format import paths
from quiver.model.errors import (
    ConflictError,
    CorruptObjectError,
    DataError,
    MissingObjectError,
    QuiverError,
    UnavailableError,
)
from quiver.objectstore.store import ObjectNotFoundError
from quiver.storage.checkpoint_store import PUBLISHED, CheckpointStore
from quiver.storage.copying.checks import check_entry, check_segment, read_checkpoint
from quiver.storage.copying.concurrency import for_each

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from quiver.format.checkpoint import Checkpoint
    from quiver.storage.copying.transfer import Transfer

_ATTEMPTS = 50


class Named(NamedTuple):
    """What a checkpoint names.

    Attributes:
        origin: id of the index that this one was cloned from, "" for none.
        segments: ids of segments, those of snapshots and for clones too, each with the id of the index that it is
            stored under, "" for this one.
    """

    origin: str = ""
    segments: Collection[tuple[str, str]] = ()


class Captured(NamedTuple):
    """A log as of one commit.

    Attributes:
        generation: of the checkpoint, 0 for none.
        slot: of the last entry.
        checkpoint: the object, None for none.
        segments: as in Named.
        sizes: of the objects under the log's root, as listed.
    """

    generation: int
    slot: int
    checkpoint: memoryview | None
    segments: Collection[tuple[str, str]]
    sizes: dict[str, int]


class TooEarlyError(QuiverError):
    """The index was cloned from one that has not been copied yet."""


class LogCopy:
    """The log under `root`, which `owner` (an index id, or "catalog") owns.

    Args:
        named: reads what a checkpoint of it names.
        ready: whether a clone of the index with this id may be copied.
        expected: bytes that were announced for this log by `Transfer.expect`.
    """

    def __init__(
        self,
        transfer: Transfer,
        root: str,
        owner: str,
        named: Callable[[Checkpoint], Named] = lambda _: Named(),
        ready: Callable[[str], bool] = lambda _: True,
        expected: int = 0,
    ) -> None:
        self._transfer = transfer
        self._root = root
        self._owner = owner
        self._named = named
        self._ready = ready
        self._expected = expected
        self._checkpoints = CheckpointStore(transfer.source, transfer.runtime, root, owner)

    async def copy(self) -> None:
        """Copy it all.

        Raises:
            TooEarlyError: nothing was copied yet.
            ConflictError: the target holds something of this log that the source does not.
            CorruptObjectError, UnsupportedFormatError, MissingObjectError: the source is damaged.
            RetryError: a store failed, or the log changes too fast.
        """
        await self._copy_key()
        for _ in range(_ATTEMPTS):
            captured = await self.capture(self._transfer.place)
            try:
                await self._copy_segments(captured)
            except ObjectNotFoundError as error:
                await self._explain_absence(error, captured.generation)
            else:
                await self.finish(captured)
                return
        raise UnavailableError(f"{self._root} changes faster than it can be copied")

    async def capture(self, accept: Callable[[str, memoryview], Awaitable[None]]) -> Captured:
        """Read the log as of one commit at or after this call; every entry goes to `accept`, in any order.

        Raises as `copy`.
        """
        for _ in range(_ATTEMPTS):
            listed = await self._transfer.source.list(self._root)
            names = [paths.classify(self._root, info.key) for info in listed]
            generation = max((name.generation for name in names if name.kind == "checkpoint"), default=0)
            try:
                published = any(name.kind == "published" for name in names)
                body, checkpoint = await self._load(generation, published=published)
                first = checkpoint.slot if checkpoint else 0
                last = max([first, *(name.slot for name in names)])
                sizes = {info.key: info.size for info in listed}
                origin, segments = self._named(checkpoint) if checkpoint else Named()
                if origin and not self._ready(origin):
                    raise TooEarlyError(self._root)
                self._expect(generation, first, last, segments, sizes)
                await self._read_entries(range(first + 1, last + 1), accept)
            except ObjectNotFoundError as error:
                await self._explain_absence(error, generation)
                continue
            if await self._checkpoints.newest(generation) is None:
                return Captured(generation, last, body, segments, sizes)
        raise UnavailableError(f"{self._root} changes faster than it can be copied")

    async def finish(self, captured: Captured) -> None:
        """Put the checkpoint in its place, when all that it names is; then see that nothing else is there."""
        if captured.checkpoint is not None:
            key = paths.checkpoint_key(self._root, captured.generation)
            await self._transfer.place(key, captured.checkpoint)
            await self._transfer.place(paths.published_key(self._root), memoryview(PUBLISHED))
        for info in await self._transfer.target.list(self._root):
            name = paths.classify(self._root, info.key)
            later = (name.kind == "log" and name.slot > captured.slot) or (
                name.kind == "checkpoint" and name.generation > captured.generation
            )
            if later:
                where = self._transfer.target.url
                raise ConflictError(f"{where} holds {info.key}, which the source does not: copy to an empty place")

    async def _copy_key(self) -> None:
        """First of all what the rest is encrypted under, where the index has a data key of its own."""
        with suppress(ObjectNotFoundError):
            key = paths.index_key_name(self._owner)
            await self._transfer.place(key, await self._transfer.fetch_small(key))

    async def _load(self, generation: int, *, published: bool) -> tuple[memoryview | None, Checkpoint | None]:
        """The checkpoint; none where none was `published`, either. Raises ObjectNotFoundError, DataError."""
        if not generation and published:
            raise ObjectNotFoundError(paths.checkpoint_prefix(self._root))
        if not generation:
            return None, None
        key = paths.checkpoint_key(self._root, generation)
        body = await self._transfer.fetch_small(key)
        return body, read_checkpoint(key, self._owner, body)

    async def _read_entries(self, slots: range, accept: Callable[[str, memoryview], Awaitable[None]]) -> None:
        async def read(slot: int) -> None:
            key = paths.log_key(self._root, slot)
            async with self._transfer.turn:
                if not self._transfer.placed(key):
                    body = await self._transfer.fetch_small(key)
                    check_entry(key, self._owner, body)
                    await accept(key, body)

        await for_each(self._transfer.settings.at_once, slots, read)

    def _expect(
        self,
        generation: int,
        first: int,
        last: int,
        segments: Collection[tuple[str, str]],
        sizes: dict[str, int],
    ) -> None:
        """Announce what will be copied, in the place of what was announced before."""
        wanted = [paths.log_key(self._root, slot) for slot in range(first + 1, last + 1)]
        wanted += [
            paths.segment_key(self._root, one, part) for home, one in segments if not home for part in _PARTS
        ]
        wanted.append(paths.checkpoint_key(self._root, generation))
        expected = sum(sizes.get(key, 0) for key in wanted) + (len(PUBLISHED) if generation else 0)
        self._transfer.expect(expected - self._expected)
        self._expected = expected

    async def _explain_absence(self, error: ObjectNotFoundError, generation: int) -> None:
        """Nothing when a newer checkpoint explains that an object is gone. Raises MissingObjectError."""
        if await self._checkpoints.newest(generation) is None:
            raise MissingObjectError(f"{error.message}: missing in {self._transfer.source.url}") from error

    # ---------------------------------------------------------------- segments

    async def _copy_segments(self, captured: Captured) -> None:
        async def copy(place: tuple[str, str]) -> None:
            home, segment = place
            root, owner = (paths.index_root(home), home) if home else (self._root, self._owner)
            async with self._transfer.turn:
                listed = captured.sizes
                if home:
                    found = await self._transfer.source.list(paths.segment_key(root, segment, ""))
                    listed = {info.key: info.size for info in found}
                await self._copy_segment(root, owner, segment, listed)

        await for_each(self._transfer.settings.at_once, captured.segments, copy)

    async def _copy_segment(self, root: str, owner: str, segment: str, listed: dict[str, int]) -> None:
        """The rows, then the index, as they were written. Raises ObjectNotFoundError: one is not listed."""
        keys = [paths.segment_key(root, segment, part) for part in _PARTS]
        if paths.classify(root, keys[0]).kind != "segment":
            raise CorruptObjectError(f"{self._root}: the checkpoint names a segment {segment!r}")
        if all(map(self._transfer.placed, keys)):
            return
        for key in keys:
            if key not in listed:
                raise ObjectNotFoundError(key)
        due = {key: listed[key] for key in keys}
        there = await self._there(root, segment)
        if there == due:
            await self._keep(root, owner, segment, due)
            return
        rows, index = [await self._transfer.fetch(key, size) for key, size in due.items()]
        await self._transfer.runtime.offload(check_segment, root, owner, segment, index, rows)
        for key, body in zip(keys, (rows, index), strict=True):
            await self._transfer.place(key, body, there=key in there)

    async def _there(self, root: str, segment: str) -> dict[str, int]:
        """The segment's objects in the target, and their sizes."""
        listed = await self._transfer.target.list(paths.segment_key(root, segment, ""))
        return {info.key: info.size for info in listed}

    async def _keep(self, root: str, owner: str, segment: str, due: dict[str, int]) -> None:
        """A segment that an earlier run has copied: of the same sizes, with checksums that hold.

        Its name is random and stands in its index, so nothing else that is sound can have it.
        Raises ConflictError when the checksums do not hold.
        """
        transfer = self._transfer
        if transfer.settings.verify:
            rows, index = [await transfer.fetch_placed(key, size) for key, size in due.items()]
            try:
                await transfer.runtime.offload(check_segment, root, owner, segment, index, rows)
            except DataError as error:
                raise ConflictError(f"{transfer.target.url} holds a damaged copy: {error.message}") from error
        for key, size in due.items():
            transfer.note(key, size, created=False)


_PARTS = (paths.ROWS, paths.SEGMENT_INDEX)
