"""A snapshot: a view of the index with its segments open and the rows they no longer speak for known."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from quiver.engine.engine import IndexSealedError
from quiver.model.errors import CorruptObjectError, MissingObjectError
from quiver.objectstore.store import ObjectNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from pyroaring import BitMap

    from quiver.engine.native.segment_pool import SegmentPool
    from quiver.engine.native.state import IndexState, View
    from quiver.engine.native.tail import TailView
    from quiver.model.types import IndexSpec
    from quiver.storage.commit_log import CommitLog
    from quiver.storage.segment_reader import SegmentReader


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

    def __init__(
        self, log: CommitLog, state: IndexState, pool: SegmentPool, root: str, owner: str, spec: IndexSpec
    ) -> None:
        self._log = log
        self._state = state
        self._pool = pool
        self._root = root
        self._owner = owner
        self._spec = spec

    async def take(self, also: Callable[[], None] = lambda: None) -> Snapshot:
        """A snapshot no older than any commit acknowledged before the call.

        `also` runs at the same instant, for what has to be read from the state at that very commit.
        Raises:
            IndexSealedError: the index was deleted.
            MissingObjectError: a segment that the newest checkpoint names is gone.
        """

        def capture() -> View:
            if self._log.sealed:
                raise IndexSealedError
            also()
            return self._state.view(self._log.slot)

        view = await self._log.observe(capture)
        while True:
            try:
                with self.forgetting_damage():
                    return await self._open(view)
            except ObjectNotFoundError as error:
                newer = await self._log.observe(capture)
                if newer.base == view.base:
                    raise MissingObjectError(f"{error.message} is missing") from error
                view = newer  # a newer checkpoint had replaced the segments

    @contextmanager
    def forgetting_damage(self) -> Iterator[None]:
        """Damage met within it drops the open segments, so that the next read fetches them anew: somebody may
        have repaired them meanwhile."""
        try:
            yield
        except CorruptObjectError:
            for ref in self._state.segments:
                self._pool.drop(self._root, ref.id)
            raise

    async def open(self, segment: str) -> SegmentReader:
        """The reader of a segment. Raises ObjectNotFoundError, DataError, StoreUnavailableError."""
        return await self._pool.open(self._root, self._owner, segment, self._spec)

    async def _open(self, view: View) -> Snapshot:
        segments = []
        for ref in view.segments:
            reader = await self.open(ref.id)
            mask = view.masks[ref.id]
            mask.extend(view.tail, reader.find)
            segments.append(OpenSegment(reader, ref.dead() | mask.hidden(view.commit)))
        return Snapshot(view.commit, view.base_slot, segments, view.tail)
