"""A snapshot: a view of the index with its segments open and the rows they no longer speak for known."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar, cast

import msgspec
import numpy as np

from quiver.engine.engine import STRONG, IndexSealedError
from quiver.model.errors import CorruptObjectError, MissingObjectError, RequestTimeoutError
from quiver.model.record import Record
from quiver.objectstore.store import ObjectNotFoundError
from quiver.storage.cache.gate import Urgency
from quiver.storage.cache.view import Missing, MissingBytesError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from pyroaring import BitMap

    from quiver.engine.engine import Freshness
    from quiver.engine.native.segment_pool import SegmentPool
    from quiver.engine.native.state import IndexState, SegmentRef, View
    from quiver.engine.native.tail import SegmentMask, TailView
    from quiver.model.runtime import Runtime
    from quiver.model.types import IndexSpec, TextField
    from quiver.storage.commit_log import CommitLog
    from quiver.storage.opening_store import OpeningStore
    from quiver.storage.segment_reader import SegmentReader

N = TypeVar("N")
T = TypeVar("T")
_FIRST_WAIT, _LONGEST_WAIT = 0.01, 0.5  # seconds before it is looked again for a commit

Run: TypeAlias = "Callable[[Callable[[], T]], Awaitable[T]]"


class OpenSegment(NamedTuple):
    """A segment and the rows of it that are dead at the snapshot's commit."""

    reader: SegmentReader
    dead: BitMap

    def live(self) -> NDArray[np.int64]:
        """Numbers of the rows that are not dead, ascending."""
        return row_numbers(self.dead.flip(0, self.reader.rows))

    def require_live(self, rows: NDArray[np.integer[Any]], *, vectors: bool, metadata: bool) -> None:
        """Have all of those of some rows that are not dead come in one wave. Raises MissingBytesError."""
        if not self.reader.stable:
            alive = [row for row in rows.tolist() if row not in self.dead]
            self.reader.require_rows(np.array(alive, np.int64), vectors=vectors, metadata=metadata)


def row_numbers(rows: BitMap) -> NDArray[np.int64]:
    """The members of a bitmap, ascending; NumPy alone would take them one by one."""
    return np.frombuffer(rows.to_array(), np.uint32).astype(np.int64)


class Snapshot(Record, frozen=True):
    """Everything a read needs, fixed at one commit; `base_slot` is that of the checkpoint underneath.

    `texts` and `fresh` as in `View`.
    """

    commit: int
    base_slot: int
    segments: list[OpenSegment]
    tail: TailView
    texts: tuple[TextField, ...] = ()
    fresh: frozenset[TextField] = frozenset()


class Seen(Record, Generic[N], frozen=True):
    """A view, and what else was noted at the same instant."""

    view: View
    noted: N


async def _outcome(attempt: Callable[[Seen[N]], Awaitable[T]], seen: Seen[N]) -> tuple[T | None, Exception | None]:
    """What an attempt gives, or raises."""
    try:
        return await attempt(seen), None
    except Exception as error:  # noqa: BLE001 - who asked decides whether it matters
        return None, error


class SnapshotSource:
    """Takes snapshots of one index.

    Args:
        ahead: read ahead of the check that nothing newer is there. It saves time where that check takes some.
        opening: has heads of segments, once the log was opened with it.
        staleness, patience: see NativeSettings.
    """

    def __init__(
        self,
        log: CommitLog,
        state: IndexState,
        pool: SegmentPool,
        owner: str,
        spec: IndexSpec,
        runtime: Runtime,
        *,
        ahead: bool,
        opening: OpeningStore,
        staleness: float,
        patience: float,
    ) -> None:
        self._runtime = runtime
        self._ahead = ahead
        self._opening = opening
        self._staleness = staleness
        self._patience = patience
        self._log = log
        self._state = state
        self._pool = pool
        self._owner = owner
        self._spec = spec

    async def take(self, also: Callable[[], None] = lambda: None, urgency: Urgency = Urgency.QUERY) -> Snapshot:
        """A snapshot no older than any commit acknowledged before the call, for work that goes through `complete`.

        Args:
            also: runs at the same instant, for what has to be read from the state at that very commit.
            urgency: of what has to be fetched.

        Raises:
            IndexSealedError: the index was deleted.
            MissingObjectError: a segment that the newest checkpoint names is gone.
        """

        async def opened(seen: Seen[None]) -> Snapshot:
            return await self._open(seen.view, urgency)

        sight = self._sight(also)
        return await self._insist(opened, sight, await self._log.observe(sight))

    async def take_whole(self) -> Snapshot:
        """The same with all bytes of every segment at hand."""

        async def whole(seen: Seen[None]) -> Snapshot:
            snapshot = await self._open(seen.view)
            return msgspec.structs.replace(snapshot, segments=await self.whole(snapshot.segments))

        sight = self._sight(lambda: None)
        return await self._insist(whole, sight, await self._log.observe(sight))

    async def read(
        self,
        work: Callable[[Snapshot, N], T],
        note: Callable[[], N],
        run: Run[T] | None = None,
        heavy: Callable[[Snapshot], bool] = lambda _: True,
        freshness: Freshness = STRONG,
    ) -> T:
        """Do work on a snapshot that is fresh enough.

        Args:
            work: is given the snapshot and what `note` said at the same instant. It may be done in vain, when
                something newer turns up.
            note: looks at the state.
            run: runs work that is `heavy`, in another thread.

        Raises: as `take`, what `work` does, RequestTimeoutError when there is no such commit.
        """

        async def attempt(seen: Seen[N]) -> T:
            snapshot = self._at_hand(seen.view) or await self._open(seen.view)
            try:
                aside = run is not None and heavy(snapshot)
            except MissingBytesError:  # seldom: it looks at what was copied
                aside = await self._pool.complete(partial(heavy, snapshot))
            return await self._pool.complete(partial(work, snapshot, seen.noted), run if aside else None)

        sight = self._sight(note)
        if freshness.eventual and self._log.is_known(self._staleness):
            seen = sight()
            if seen.view.commit >= freshness.at_least:
                return await self._insist(attempt, sight, seen)
        if self._ahead:
            try:
                return await self._read_ahead(attempt, sight, freshness.at_least)
            finally:
                self._opening.heads.clear()  # what nobody took is of segments that are no more
        seen = await self._log.observe(sight)
        if seen.view.commit < freshness.at_least:
            seen = await self._wait(sight, freshness.at_least, seen)
        return await self._insist(attempt, sight, seen)

    async def see(self, note: Callable[[], N], freshness: Freshness = STRONG) -> N:
        """What `note` says of the state when it is fresh enough. Raises as `take`, and RequestTimeoutError."""
        sight = self._sight(note)
        if freshness.eventual and self._log.is_known(self._staleness):
            seen = sight()
            if seen.view.commit >= freshness.at_least:
                return seen.noted
        return (await self._see(sight, freshness.at_least)).noted

    async def complete(
        self, work: Callable[[], T], run: Run[T] | None = None, urgency: Urgency = Urgency.QUERY
    ) -> T:
        """Do work with the readers of a snapshot: bytes they lack are fetched."""
        with self.forgetting_damage():
            return await self._pool.complete(work, run, urgency)

    async def settle(self) -> None:
        """Wait until the disk tier was offered what was fetched."""
        await self._pool.settle()

    @contextmanager
    def forgetting_damage(self) -> Iterator[None]:
        """Damage met within it drops the open segments, so that the next read fetches them anew: somebody may
        have repaired them meanwhile."""
        try:
            yield
        except CorruptObjectError:
            self._forget_damage()
            raise

    def _forget_damage(self) -> None:
        for ref in self._state.segments:
            self._pool.drop(ref.owner(self._owner), ref.id, damaged=True)

    async def whole(self, segments: Sequence[OpenSegment]) -> list[OpenSegment]:
        """The segments with all their bytes at hand. Raises as `open` does."""
        return [segment._replace(reader=await self._pool.whole(segment.reader)) for segment in segments]

    async def open(self, ref: SegmentRef, urgency: Urgency = Urgency.QUERY) -> SegmentReader:
        """The reader of a segment. Raises ObjectNotFoundError, DataError, StoreUnavailableError."""
        head = self._opening.heads.pop((ref.home, ref.id), None)
        return await self._pool.open(ref.owner(self._owner), ref, self._spec, urgency, head)

    async def head(self, ref: SegmentRef) -> bytes:
        """What every search of a segment begins with; see `SegmentReader.take_head`. Raises as `open` does."""
        reader = await self.open(ref, Urgency.MAINTENANCE)
        return await self.complete(reader.take_head, urgency=Urgency.MAINTENANCE)

    async def adopt(self, ref: SegmentRef, head: bytes) -> None:
        """See SegmentPool.adopt."""
        await self._pool.adopt(ref.owner(self._owner), ref, self._spec, head)

    # ---------------------------------------------------------------- opening

    def _sight(self, note: Callable[[], N]) -> Callable[[], Seen[N]]:
        """Looks at the state as it stands."""

        def sight() -> Seen[N]:
            if self._log.sealed:
                raise IndexSealedError
            return Seen(self._state.view(self._log.slot), note())

        return sight

    async def _see(
        self, sight: Callable[[], Seen[N]], at_least: int, on_opening: Callable[[], None] | None = None
    ) -> Seen[N]:
        """The state with every commit acknowledged before the call, and with commit `at_least`."""
        seen = await self._log.observe(sight, on_opening)
        return seen if seen.view.commit >= at_least else await self._wait(sight, at_least, seen)

    async def _wait(self, sight: Callable[[], Seen[N]], at_least: int, seen: Seen[N]) -> Seen[N]:
        """The state when it has commit `at_least`, which it had not when it was `seen`."""
        give_up, delay = self._runtime.monotonic() + self._patience, _FIRST_WAIT
        while seen.view.commit < at_least:
            if self._runtime.monotonic() >= give_up:
                message = f"The index stands at commit {seen.view.commit}; commit {at_least} did not come"
                raise RequestTimeoutError(message)
            await self._runtime.sleep(delay)
            delay = min(2 * delay, _LONGEST_WAIT)
            seen = await self._log.observe(sight)
        return seen

    async def _read_ahead(
        self, attempt: Callable[[Seen[N]], Awaitable[T]], sight: Callable[[], Seen[N]], at_least: int
    ) -> T:
        """Do the work on the state at hand while it is being checked; again when that has moved.

        Then what came of the first attempt, errors too, is forgotten; it comes to its end all the same, since both
        need nearly the same bytes. A log that is being opened may be at hand twice: at a checkpoint, and with the
        entries after it.
        """
        guesses: list[tuple[Seen[N], Awaitable[tuple[T | None, Exception | None]]]] = []

        def guess() -> None:
            if not self._log.sealed:
                seen = sight()
                if guesses and guesses[-1][0].view.is_same(seen.view):
                    return
                guesses.append((seen, self._runtime.spawn(_outcome(attempt, seen), "read ahead")))

        if self._log.opened:
            guess()
        seen = await self._see(sight, at_least, guess)
        if not guesses or not guesses[-1][0].view.is_same(seen.view):
            return await self._insist(attempt, sight, seen)

        async def take_guess(now: Seen[N]) -> T:
            if now is not seen:
                return await attempt(now)
            result, error = await guesses[-1][1]
            if error is not None:
                raise error
            return cast("T", result)

        return await self._insist(take_guess, sight, seen)

    async def _insist(
        self, attempt: Callable[[Seen[N]], Awaitable[T]], sight: Callable[[], Seen[N]], seen: Seen[N]
    ) -> T:
        """Do something with a view, or a newer one when its segments were replaced and removed."""
        while True:
            try:
                return await attempt(seen)
            except CorruptObjectError:
                self._forget_damage()
                raise
            except ObjectNotFoundError as error:
                newer = await self._log.observe(sight)
                if newer.view.base == seen.view.base:
                    raise MissingObjectError(f"{error.message} is missing") from error
                seen = newer

    def _at_hand(self, view: View) -> Snapshot | None:
        """The snapshot, when its segments are open and the rows that the tail hides are known."""
        readers, held, masks, tail = [], self._pool.held, view.masks, view.tail
        for ref in view.segments:
            reader = held(ref.owner(self._owner), ref.id)
            if reader is None or masks[ref.id].is_behind(tail):
                return None
            readers.append(reader)
        return _snapshot(view, readers)

    async def _open(self, view: View, urgency: Urgency = Urgency.QUERY) -> Snapshot:
        """The snapshot, whatever has to be done for it first."""
        held = [self._pool.held(ref.owner(self._owner), ref.id) for ref in view.segments]
        readers = [reader for reader in held if reader is not None]
        if len(readers) < len(held):
            readers = list(await asyncio.gather(*(self.open(ref, urgency) for ref in view.segments)))
        masks = (view.masks[ref.id] for ref in view.segments)
        behind = [each for each in zip(masks, readers, strict=True) if each[0].is_behind(view.tail)]
        if behind:
            await self._pool.complete(partial(_look_up, behind, view.tail), urgency=urgency)
        return _snapshot(view, readers)


def _snapshot(view: View, readers: Sequence[SegmentReader]) -> Snapshot:
    """With the readers of the segments of a view; it is known which of their rows its tail hides."""
    commit, masks = view.tail.commit, view.masks
    segments = [
        OpenSegment(reader, masks[ref.id].dead(commit)) for ref, reader in zip(view.segments, readers, strict=True)
    ]
    return Snapshot(commit, view.base_slot, segments, view.tail, view.texts, view.fresh)


def _look_up(behind: Sequence[tuple[SegmentMask, SegmentReader]], tail: TailView) -> None:
    """Find the rows that the tail hides, in all segments with one wave of requests."""
    missing = Missing()
    for mask, reader in behind:
        with missing:
            mask.extend(tail, reader.find)
    missing.raise_any()
