"""A snapshot: a view of the index with its segments open and the rows they no longer speak for known."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

import numpy as np

from quiver.engine.engine import IndexSealedError
from quiver.model.errors import CorruptObjectError, MissingObjectError
from quiver.objectstore.store import ObjectNotFoundError
from quiver.storage.cache.view import Missing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from pyroaring import BitMap

    from quiver.engine.native.segment_pool import SegmentPool
    from quiver.engine.native.state import IndexState, SegmentRef, View
    from quiver.engine.native.tail import SegmentMask, TailView
    from quiver.model.types import IndexSpec
    from quiver.storage.commit_log import CommitLog
    from quiver.storage.segment_reader import SegmentReader

T = TypeVar("T")
Run: TypeAlias = "Callable[[Callable[[], T]], Awaitable[T]]"


class OpenSegment(NamedTuple):
    """A segment and the rows of it that are dead at the snapshot's commit."""

    reader: SegmentReader
    dead: BitMap

    def live(self) -> NDArray[np.int64]:
        """Numbers of the rows that are not dead, ascending."""
        return row_numbers(self.dead.flip(0, self.reader.rows))


def row_numbers(rows: BitMap) -> NDArray[np.int64]:
    """The members of a bitmap, ascending; NumPy alone would take them one by one."""
    return np.frombuffer(rows.to_array(), np.uint32).astype(np.int64)


class Snapshot(NamedTuple):
    """Everything a read needs, fixed at one commit; `base_slot` is that of the checkpoint underneath."""

    commit: int
    base_slot: int
    segments: list[OpenSegment]
    tail: TailView


class SnapshotSource:
    """Takes snapshots of one index."""

    def __init__(self, log: CommitLog, state: IndexState, pool: SegmentPool, owner: str, spec: IndexSpec) -> None:
        self._log = log
        self._state = state
        self._pool = pool
        self._owner = owner
        self._spec = spec

    async def take(self, also: Callable[[], None] = lambda: None) -> Snapshot:
        """A snapshot no older than any commit acknowledged before the call, for work that goes through `complete`.

        `also` runs at the same instant, for what has to be read from the state at that very commit.
        Raises:
            IndexSealedError: the index was deleted.
            MissingObjectError: a segment that the newest checkpoint names is gone.
        """
        return await self.read(lambda snapshot: snapshot, also)

    async def take_whole(self) -> Snapshot:
        """The same with all bytes of every segment at hand."""

        async def opened(view: View) -> Snapshot:
            snapshot = await self._open(view)
            return snapshot._replace(segments=await self.whole(snapshot.segments))

        return await self._attempt(opened)

    async def read(
        self,
        work: Callable[[Snapshot], T],
        also: Callable[[], None] = lambda: None,
        run: Run[T] | None = None,
        heavy: Callable[[Snapshot], bool] = lambda _: True,
    ) -> T:
        """Do work on such a snapshot, by `run` (in another thread) if it is `heavy`. Raises also what it does."""

        async def opened(view: View) -> T:
            snapshot = await self._open(view)
            aside = run is not None and await self._pool.complete(partial(heavy, snapshot))
            return await self._pool.complete(partial(work, snapshot), run if aside else None)

        return await self._attempt(opened, also)

    async def complete(self, work: Callable[[], T], run: Run[T] | None = None) -> T:
        """Do work with the readers of a snapshot: bytes they lack are fetched."""
        with self.forgetting_damage():
            return await self._pool.complete(work, run)

    @contextmanager
    def forgetting_damage(self) -> Iterator[None]:
        """Damage met within it drops the open segments, so that the next read fetches them anew: somebody may
        have repaired them meanwhile."""
        try:
            yield
        except CorruptObjectError:
            for ref in self._state.segments:
                self._pool.drop(ref.owner(self._owner), ref.id, damaged=True)
            raise

    async def whole(self, segments: Sequence[OpenSegment]) -> list[OpenSegment]:
        """The segments with all their bytes at hand. Raises as `open` does."""
        return [segment._replace(reader=await self._pool.whole(segment.reader)) for segment in segments]

    async def open(self, ref: SegmentRef) -> SegmentReader:
        """The reader of a segment. Raises ObjectNotFoundError, DataError, StoreUnavailableError."""
        return await self._pool.open(ref.owner(self._owner), ref, self._spec)

    # ---------------------------------------------------------------- opening

    async def _attempt(
        self, attempt: Callable[[View], Awaitable[T]], also: Callable[[], None] = lambda: None
    ) -> T:
        """Do something with the newest view, or a newer one when its segments were replaced and removed."""

        def capture() -> View:
            if self._log.sealed:
                raise IndexSealedError
            also()
            return self._state.view(self._log.slot)

        view = await self._log.observe(capture)
        while True:
            try:
                with self.forgetting_damage():
                    return await attempt(view)
            except ObjectNotFoundError as error:
                newer = await self._log.observe(capture)
                if newer.base == view.base:
                    raise MissingObjectError(f"{error.message} is missing") from error
                view = newer

    async def _open(self, view: View) -> Snapshot:
        readers = [self._pool.held(ref.owner(self._owner), ref.id) for ref in view.segments]
        if None in readers:
            readers = list(await asyncio.gather(*map(self.open, view.segments)))
        behind = [
            (view.masks[ref.id], reader)
            for ref, reader in zip(view.segments, readers, strict=True)
            if reader is not None and view.masks[ref.id].is_behind(view.tail)
        ]
        if behind:
            await self._pool.complete(partial(_look_up, behind, view.tail))
        return self._snapshot(view, [reader for reader in readers if reader is not None])

    def _snapshot(self, view: View, readers: Sequence[SegmentReader]) -> Snapshot:
        segments = []
        for ref, reader in zip(view.segments, readers, strict=True):
            mask = view.masks[ref.id]
            mask.extend(view.tail, reader.find)
            segments.append(OpenSegment(reader, ref.dead() | mask.hidden(view.commit)))
        return Snapshot(view.commit, view.base_slot, segments, view.tail)


def _look_up(behind: Sequence[tuple[SegmentMask, SegmentReader]], tail: TailView) -> None:
    """Find the rows that the tail hides, in all segments with one wave of requests."""
    missing = Missing()
    for mask, reader in behind:
        with missing:
            mask.extend(tail, reader.find)
    missing.raise_any()
