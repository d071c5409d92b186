"""The state of one index: the segments of a checkpoint, and the tail since. What the commit log replays into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from pyroaring import BitMap

from quiver.engine.engine import MAX_TEXT_FIELDS
from quiver.engine.native.tail import SegmentMask, Tail, TailView
from quiver.format import rows, text_change
from quiver.format.log_entry import Part, PartKind
from quiver.format.msgpack import unpack
from quiver.model.errors import CorruptObjectError
from quiver.model.types import IndexSpec, TextField
from quiver.storage.commit_log import Machine
from quiver.text.analysis import ANALYSIS_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from quiver.format.checkpoint import Checkpoint
    from quiver.format.text_change import TextChange


UNKNOWN, CONFIGURED, TOO_MANY = "unknown", "configured", "too many"
"""Why a change of text fields was refused. They stay in session tables, so they never change."""


IndexId = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{32})?\Z")]
"""An index id, or "" for none. It becomes part of object names, so nothing else is read from a checkpoint."""


ObjectSize = Annotated[int, msgspec.Meta(ge=0, le=1 << 46)]
"""Bytes of an object, far more than any store takes."""


class SegmentRef(msgspec.Struct, frozen=True):
    """A segment as a checkpoint names it.

    Attributes:
        id: the segment's id.
        rows: rows it holds, hidden ones included.
        nbytes: size of its objects.
        tombstones: rows deleted or overwritten since it was written, a serialised roaring bitmap; b"" for none.
        home: id of the index that it is stored under and belongs to, when that is another than names it.
        index_bytes: size of its index object; 0 where an older Quiver did not say.
        head_bytes: of those, the last ones, which every search begins with.
        texts: the text fields that it has posting lists of.
        analysis: version of the analysis that they were made with.
    """

    id: str
    rows: int
    nbytes: int
    tombstones: bytes = b""
    home: IndexId = ""
    index_bytes: ObjectSize = 0
    head_bytes: ObjectSize = 0
    texts: list[TextField] = []
    analysis: int = 0

    def holds(self, field: TextField) -> bool:
        """Whether a text field can be searched in it."""
        return self.analysis == ANALYSIS_VERSION and field in self.texts

    def lacks(self, texts: Iterable[TextField]) -> bool:
        """Whether it has to be written anew for the text fields of the index; not what a newer Quiver wrote."""
        return self.analysis <= ANALYSIS_VERSION and not all(map(self.holds, texts))

    def owner(self, index_id: str) -> str:
        """Id of the index that it is stored under, when the index with this id names it."""
        return self.home or index_id

    def seen_from_elsewhere(self, index_id: str) -> SegmentRef:
        """The same segment, named by the index with this id, as another index names it."""
        return msgspec.structs.replace(self, home=self.owner(index_id))

    def with_dead(self, dead: BitMap) -> SegmentRef:
        """The same segment with these tombstones."""
        return msgspec.structs.replace(self, tombstones=dead.serialize() if dead else b"")

    def dead(self) -> BitMap:
        """The tombstones. Raises CorruptObjectError."""
        if not self.tombstones:
            return BitMap()
        try:
            dead = BitMap.deserialize(self.tombstones)
        except ValueError as error:
            raise CorruptObjectError(f"segment {self.id}: unreadable tombstones") from error
        if dead and dead.max() >= self.rows:
            raise CorruptObjectError(f"segment {self.id}: tombstones past its rows")
        return dead


class Volume(msgspec.Struct, frozen=True):
    """Bytes since the index was created.

    Attributes:
        accepted: of keys, vectors and metadata that were put, loaded or deleted.
        written: of log entries and segments.
    """

    accepted: int = 0
    written: int = 0

    def plus(self, accepted: int, written: int) -> Volume:
        """With so much more."""
        return Volume(self.accepted + accepted, self.written + written)


class Reservation(msgspec.Struct, frozen=True):
    """A segment that is being written: garbage collection leaves it alone.

    Attributes:
        segment: its id.
        since: when it was reserved, by the store's clock, in seconds since the epoch.
        published: a checkpoint named the segment; what is left is for its writer to know that by.
        closing: when a load that wrote it began to be published, by the same clock; 0 for not yet. Conditional
            writes wait from then on, until it is published or given up: see conditional.py.
    """

    segment: str
    since: float
    published: bool = False
    closing: float = 0.0


class Pin(msgspec.Struct, frozen=True):
    """The index as of one commit, kept for a snapshot or for a clone: see pins.py.

    Attributes:
        id: random, for its maker to know it by.
        name: of a snapshot; "" for a clone's pin.
        created: by the store's clock, in seconds since the epoch.
        slot: the commit.
        segments: with their tombstones as of then; of a clone's pin only those that the clone still names.
        holder: id of the clone that reads the segments; "" for a snapshot.
        texts: the text fields as of then; None as in IndexCheckpoint.
    """

    id: str
    name: str
    created: float
    slot: int
    segments: list[SegmentRef]
    holder: IndexId = ""
    texts: list[TextField] | None = None


class IndexCheckpoint(msgspec.Struct, frozen=True):
    """What a checkpoint of an index holds.

    Attributes:
        spec: the index's specification.
        segments: no row is alive in two of them.
        reserved: segments that a merge or a load is writing.
        volume: what was accepted and written up to here.
        pins: of snapshots, and of clones made from this index.
        origin: id of the index that this one was cloned from; it has the pin for every segment that is another's.
        texts: its text fields; None for those of the specification.
    """

    spec: IndexSpec
    segments: list[SegmentRef]
    reserved: list[Reservation] = []
    volume: Volume = Volume()
    pins: list[Pin] = []
    origin: IndexId = ""
    texts: list[TextField] | None = None


def encode_checkpoint(checkpoint: IndexCheckpoint) -> bytes:
    """The state bytes of a checkpoint."""
    return msgspec.msgpack.encode(checkpoint)


def decode_checkpoint(state: bytes) -> IndexCheckpoint:
    """Raises CorruptObjectError."""
    return unpack(state, IndexCheckpoint, "index checkpoint")


def contents_of(checkpoint: Checkpoint | None) -> IndexCheckpoint | None:
    """What a checkpoint holds; None without one, or when it is the last of a deleted index that nothing pins.

    Raises CorruptObjectError.
    """
    return decode_checkpoint(checkpoint.state) if checkpoint and checkpoint.state else None


def references_of(checkpoint: Checkpoint | None) -> set[str]:
    """The ids of all segments that garbage collection has to leave alone. Raises CorruptObjectError."""
    contents = contents_of(checkpoint)
    if contents is None:
        return set()
    reserved = {reservation.segment for reservation in contents.reserved if not reservation.published}
    pinned = {ref.id for pin in contents.pins for ref in pin.segments}
    return {ref.id for ref in contents.segments} | reserved | pinned


class View:
    """The index at one commit: its segments, what hides their rows, and the tail.

    Attributes:
        base: generation of the checkpoint that names the segments.
        base_slot: its slot.
        masks: by segment id; filled in when the segment's reader is at hand.
        texts, fresh: the text fields; those of them that cannot be searched yet whatever the segments hold.
    """

    def __init__(
        self,
        base: int,
        base_slot: int,
        segments: Sequence[SegmentRef],
        masks: dict[str, SegmentMask],
        tail: TailView,
        texts: tuple[TextField, ...] = (),
        fresh: frozenset[TextField] = frozenset(),
    ) -> None:
        self.base = base
        self.base_slot = base_slot
        self.segments = segments
        self.masks = masks
        self.tail = tail
        self.texts = texts
        self.fresh = fresh

    @property
    def commit(self) -> int:
        """The last slot that the view reflects."""
        return self.tail.commit

    def is_same(self, other: View) -> bool:
        """Whether both show the same; a tail belongs to one base."""
        return self.tail.tail is other.tail.tail and self.commit == other.commit


class IndexState(Machine):
    """Applies puts, deletes, changes of the text fields and seals in slot order.

    Attributes:
        contents: what the checkpoint underneath holds; empty without one.
        tail: what came since.
        texts: the text fields, in the order of their configuration.
        fresh: those added since the checkpoint. A flush under way may know nothing of them yet, and publish a
            segment without.
    """

    def __init__(self, spec: IndexSpec) -> None:
        self.spec = spec
        self.tail = Tail(spec.dimension, 1)
        self.texts = spec.texts
        self.fresh: frozenset[TextField] = frozenset()
        self._base = 0
        self._base_slot = 0
        self.contents = IndexCheckpoint(spec, [])
        self._masks: dict[str, SegmentMask] = {}
        self._view: View | None = None  # until something is applied

    @property
    def segments(self) -> list[SegmentRef]:
        """Those of the checkpoint underneath."""
        return self.contents.segments

    @property
    def reserved(self) -> list[Reservation]:
        """The same for reservations."""
        return self.contents.reserved

    @property
    def closing(self) -> list[Reservation]:
        """Those of loads that are being published, or were when their node died."""
        return [one for one in self.reserved if one.closing and not one.published]

    def restore(self, checkpoint: Checkpoint | None) -> None:
        self._view = None
        stored = contents_of(checkpoint)
        shape = (self.spec.dimension, self.spec.metric)
        if stored is not None and (stored.spec.dimension, stored.spec.metric) != shape:
            raise CorruptObjectError("the checkpoint is of an index with another specification")
        empty = IndexCheckpoint(self.spec, [])
        self.contents = msgspec.structs.replace(stored, spec=self.spec) if stored else empty
        self._base = checkpoint.generation if checkpoint else 0
        self._base_slot = checkpoint.slot if checkpoint else 0
        self._masks = {segment.id: SegmentMask(segment.dead) for segment in self.segments}
        self.tail = Tail(self.spec.dimension, self._base_slot + 1)
        kept = self.contents.texts
        self.texts = self.spec.texts if kept is None else tuple(kept)
        self.fresh = frozenset()

    def apply(self, slot: int, part: Part) -> Any:
        self._view = None
        if part.kind == PartKind.PUT:
            self.tail.put(slot, rows.decode_put(part.body, self.spec.dimension))
        elif part.kind == PartKind.DELETE:
            self.tail.delete(slot, rows.decode_delete(part.body))
        elif part.kind == PartKind.CONFIGURE:
            return self._configure(text_change.decode(part.body))
        return None

    def _configure(self, change: TextChange) -> list[str]:
        """Change the text fields, or not at all; the refusal, if any, and the key it is about."""
        fields = {field.key: field for field in self.texts}
        for key in change.delete:
            if fields.pop(key, None) is None:
                return [UNKNOWN, key]
        for field in change.add:
            if field.key in fields:
                return [CONFIGURED, field.key]
            fields[field.key] = field
        if len(fields) > MAX_TEXT_FIELDS:
            return [TOO_MANY, ""]
        self.texts = tuple(fields.values())
        self.fresh = self.fresh.union(change.add).intersection(self.texts)
        return []

    def is_active(self, field: TextField) -> bool:
        """Whether every segment there is, and any that is being flushed, can be searched for a text field."""
        return field not in self.fresh and all(ref.holds(field) for ref in self.segments)

    def view(self, commit: int) -> View:
        """The state as it stands; `commit` is the log's slot (an entry applied before may be repeated there)."""
        if self._view is None or self._view.tail.commit != commit:
            tail = self.tail.view(commit)
            self._view = View(
                self._base, self._base_slot, self.segments, self._masks, tail, self.texts, self.fresh
            )
        return self._view
