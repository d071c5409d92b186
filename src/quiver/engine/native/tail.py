"""The tail: rows newer than the segments, in memory, readable as of any commit since the checkpoint.

Every row carries the slot that brought it and the slot that superseded it. A reader that stands at commit c sees
the rows born at or before c and not yet superseded by then, however far the tail has moved on meanwhile; so a
search may run in a thread while entries are applied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pyroaring import BitMap

from quiver.ann.distance import distances, norms
from quiver.engine.native.tail_texts import TailTexts
from quiver.format.keys import key_hashes
from quiver.format.metadata_columns import MetadataColumns, decode_metadata
from quiver.model.filter import matches

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from quiver.model.filter import Filter
    from quiver.model.types import DistanceMetric, TextField, VectorBatch

NEVER = np.iinfo(np.int64).max
_FIRST_CAPACITY = 64
_CAPACITY = 4096
_DELETED = -1
_INDEX_FROM = 256  # rows past the indexed ones that are worth indexing again


class Place(NamedTuple):
    """Where the newest version of a key stands in the tail."""

    block: TailBlock
    row: int


class TailBlock:
    """Up to `capacity` rows, appended in slot order; arrays are written once, `died` excepted."""

    def __init__(self, dimension: int, capacity: int) -> None:
        self.capacity = capacity
        self.count = 0
        self.vectors = np.empty((capacity, dimension), np.float32)
        self.norms = np.empty(capacity, np.float32)
        self.hashes = np.empty(capacity, np.uint64)
        self.born = np.full(capacity, NEVER, np.int64)
        self.died = np.full(capacity, NEVER, np.int64)
        self.keys: list[str] = []
        self.metadata: list[bytes] = []
        self._columns: tuple[int, MetadataColumns] | None = None

    def append(self, slot: int, batch: VectorBatch, hashes: NDArray[np.uint64]) -> None:
        """Add rows; there is room for them."""
        new = slice(self.count, self.count + len(batch.keys))
        self.vectors[new] = batch.vectors
        self.norms[new] = norms(batch.vectors)
        self.hashes[new] = hashes
        self.keys.extend(batch.keys)
        self.metadata.extend(batch.metadata)
        self.born[new] = slot
        self.count = new.stop

    def take_vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """A copy of some rows, shape (len(rows), dimension)."""
        return self.vectors[rows]

    def distances(
        self, rows: NDArray[np.int64], query: NDArray[np.float32], metric: DistanceMetric
    ) -> NDArray[np.float32]:
        """The exact distances of some rows to a query, shape (len(rows),)."""
        return distances(query, self.vectors[rows], metric)

    def keys_of(self, rows: Sequence[int] | NDArray[np.int64]) -> list[str]:
        """The keys of some rows."""
        return [self.keys[row] for row in rows]

    def metadata_of(self, rows: Sequence[int]) -> list[bytes]:
        """The metadata of some rows, JSON texts."""
        return [self.metadata[row] for row in rows]

    def visible(self, commit: int) -> NDArray[np.bool_]:
        """Which of the rows a reader at `commit` sees, shape (count,)."""
        count = self.count
        return (self.born[:count] <= commit) & (self.died[:count] > commit)

    def select(self, condition: Filter, non_filterable: Collection[str], count: int) -> NDArray[np.bool_]:
        """Which of the first `count` rows match, shape (count,)."""
        indexed, columns = self._columns or (0, None)
        if count - indexed >= _INDEX_FROM:
            columns = MetadataColumns.build(self.metadata[:count], non_filterable)
            indexed = count
            self._columns = (indexed, columns)
        chosen = np.zeros(max(count, indexed), bool)
        if columns is not None:
            chosen[np.array(columns.select(condition), np.int64)] = True
        for row in range(indexed, count):
            chosen[row] = matches(condition, decode_metadata(self.metadata[row]))
        return chosen[:count]


class Tail:
    """The rows and deletions of the slots past a checkpoint.

    Attributes:
        rows: rows appended, superseded ones included.
        nbytes: about how many bytes of vectors, metadata and keys they hold.
        first_slot: the first slot that the tail would hold.
    """

    def __init__(self, dimension: int, first_slot: int) -> None:
        self.blocks: list[TailBlock] = []
        self.rows = 0
        self.nbytes = 0
        self.first_slot = first_slot
        self._dimension = dimension
        # Where each key's newest version stands: block * _CAPACITY + row, or _DELETED. Plain numbers, because the
        # garbage collector visits every other kind of object, and a node holds millions of these.
        self._newest: dict[str, int] = {}
        self._texts: dict[TextField, TailTexts] = {}
        self._touched: list[str] = []
        self._touched_slots: list[int] = []
        self._touched_hashes: list[NDArray[np.uint64]] = []

    def put(self, slot: int, batch: VectorBatch) -> None:
        """Apply a put: rows with distinct keys."""
        hashes = self._touch(slot, batch.keys)
        start = 0
        while start < len(batch.keys):
            block = self._room(len(batch.keys) - start)
            stop = min(len(batch.keys), start + block.capacity - block.count)
            part = slice(start, stop)
            first = block.count
            block.append(
                slot, type(batch)(batch.keys[part], batch.vectors[part], batch.metadata[part]), hashes[part]
            )
            place = (len(self.blocks) - 1) * _CAPACITY + first
            self._newest.update(zip(batch.keys[part], range(place, place + stop - start), strict=True))
            start = stop
        self.rows += len(batch.keys)
        self.nbytes += batch.vectors.nbytes + sum(map(len, batch.metadata)) + 200 * len(batch.keys)

    def delete(self, slot: int, keys: Sequence[str]) -> None:
        """Apply a delete."""
        self._touch(slot, keys)
        self._newest.update(dict.fromkeys(keys, _DELETED))
        self.nbytes += 150 * len(keys)

    def _touch(self, slot: int, keys: Sequence[str]) -> NDArray[np.uint64]:
        """Supersede earlier versions and remember that segments no longer speak for these keys."""
        for key in keys:
            place = self._newest.get(key, _DELETED)
            if place != _DELETED:
                self.blocks[place // _CAPACITY].died[place % _CAPACITY] = slot
        hashes = key_hashes(keys)
        self._touched.extend(keys)
        self._touched_slots.extend([slot] * len(keys))
        self._touched_hashes.append(hashes)
        return hashes

    @property
    def resident(self) -> int:
        """Bytes of memory, about: blocks are allocated whole."""
        texts = sum(each.nbytes for each in list(self._texts.values())) if self._texts else 0
        return self.nbytes + 150 * len(self._touched) + texts

    def texts_of(self, field: TextField) -> TailTexts:
        """The terms of its rows in a text field, as far as they were asked for."""
        return self._texts.get(field) or self._texts.setdefault(field, TailTexts(field))

    def _room(self, wanted: int) -> TailBlock:
        if not self.blocks or self.blocks[-1].count == self.blocks[-1].capacity:
            last = self.blocks[-1].capacity if self.blocks else _FIRST_CAPACITY // 2
            capacity = min(_CAPACITY, max(wanted, 2 * last))
            self.blocks.append(TailBlock(self._dimension, capacity))
        return self.blocks[-1]

    def view(self, commit: int) -> TailView:
        """The tail as of `commit`, the last slot applied."""
        return TailView(self, commit, len(self._touched))

    def touched(self, start: int, stop: int) -> tuple[list[str], NDArray[np.uint64], NDArray[np.int64]]:
        """Keys put or deleted, with their hashes and slots; entries [start, stop) in slot order."""
        if len(self._touched_hashes) > 1:
            self._touched_hashes = [np.concatenate(self._touched_hashes)]
        hashes = self._touched_hashes[0] if self._touched_hashes else np.zeros(0, np.uint64)
        slots = np.array(self._touched_slots[start:stop], np.int64)
        return self._touched[start:stop], hashes[start:stop], slots

    def touched_only_outside(self, keys: frozenset[str], start: int) -> bool:
        """Whether no entry of `touched` from `start` on is among the keys."""
        return keys.isdisjoint(self._touched[start:])

    def newest(self, keys: Sequence[str]) -> dict[str, Place | None]:
        """Where the newest version of each key is, None when it was deleted; without the keys unknown here."""
        return {key: self._place(self._newest[key]) for key in keys if key in self._newest}

    def _place(self, number: int) -> Place | None:
        return None if number == _DELETED else Place(self.blocks[number // _CAPACITY], number % _CAPACITY)


class TailBlockView(NamedTuple):
    """The rows of a block that a reader sees."""

    block: TailBlock
    mask: NDArray[np.bool_]


class TailView:
    """The tail as a reader at one commit sees it.

    Attributes:
        touched: how many entries of `Tail.touched` lie at or before the commit.
    """

    def __init__(self, tail: Tail, commit: int, touched: int) -> None:
        self.tail = tail
        self.commit = commit
        self.touched = touched
        self.rows = tail.rows
        self._blocks = tuple(tail.blocks)

    def are_untouched(self, keys: frozenset[str]) -> bool:
        """Whether none of the keys was put or deleted since."""
        return self.tail.touched_only_outside(keys, self.touched)

    def blocks(self, condition: Filter | None = None, non_filterable: Collection[str] = ()) -> list[TailBlockView]:
        """Blocks with a mask of the visible, matching rows."""
        views = []
        for block in self._blocks:
            mask = block.visible(self.commit)
            if condition is not None and mask.any():
                mask &= block.select(condition, non_filterable, len(mask))
            views.append(TailBlockView(block, mask))
        return views


class SegmentMask:
    """The rows of one segment that are not alive: its tombstones, and keys put or deleted since the checkpoint."""

    def __init__(self, tombstones: Callable[[], BitMap]) -> None:
        """A mask; `tombstones` is called once, when they are needed."""
        self._read_tombstones = tombstones
        self._tombstones: BitMap | None = None
        self._done = 0
        self._rows: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
        self._slots: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
        self._latest: tuple[int, int, BitMap] | None = None  # keys looked up, commit, and who is dead there

    def is_behind(self, view: TailView) -> bool:
        """Whether keys were touched since the last time."""
        return self._done < view.touched

    def extend(self, view: TailView, find: Finder) -> None:
        """Look up the keys touched since the last time."""
        if self.is_behind(view):
            keys, hashes, slots = view.tail.touched(self._done, view.touched)
            rows = find(keys, hashes)
            hidden = rows >= 0
            self._rows = [np.concatenate([*self._rows, rows[hidden]])]
            self._slots = [np.concatenate([*self._slots, slots[hidden]])]
            self._done = view.touched

    def dead(self, commit: int) -> BitMap:
        """Rows not alive for a reader at `commit`, not to be changed. Raises CorruptObjectError."""
        if self._tombstones is None:
            self._tombstones = self._read_tombstones()
        if not len(self._rows[0]):
            return self._tombstones
        if self._latest is None or self._latest[:2] != (self._done, commit):
            hidden = BitMap(self._rows[0][self._slots[0] <= commit].astype(np.uint32))
            self._latest = self._done, commit, self._tombstones | hidden
        return self._latest[2]


if TYPE_CHECKING:
    from collections.abc import Callable

    Finder = Callable[[Sequence[str], NDArray[np.uint64]], NDArray[np.int64]]
