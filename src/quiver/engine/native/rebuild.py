"""Rebuilds segments whose index is missing or damaged from their rows (Upkeep.rebuild), those of snapshots too.

Objects are never changed in place, and a name is created once. So the rows are copied to a new segment with an
index of its own, and a checkpoint names it instead of the damaged one, which becomes garbage. That checkpoint is
the one underneath again: no log entry is read into it, which would take all segments open.

What clones read stays pinned as it is: a clone rebuilds what it names itself, under its own root.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace
from pyroaring import BitMap

from quiver.engine.engine import IndexSealedError
from quiver.engine.native.flush import store_segment
from quiver.engine.native.reservation import check_reserved, is_there, release, reserve, without
from quiver.engine.native.snapshot import row_numbers
from quiver.engine.native.state import encode_checkpoint
from quiver.format import paths
from quiver.model.errors import CorruptObjectError
from quiver.objectstore.store import ObjectNotFoundError
from quiver.storage.row_source import SegmentsSource
from quiver.storage.segment_audit import audit_segment
from quiver.storage.segment_builder import BuildOptions, build_segment
from quiver.storage.segment_reader import SegmentReader
from quiver.storage.segment_salvage import salvage_rows

if TYPE_CHECKING:
    from quiver.engine.native.index import NativeIndex
    from quiver.engine.native.state import SegmentRef
    from quiver.format.checkpoint import Checkpoint
    from quiver.model.types import IndexSpec
    from quiver.objectstore.store import ObjectStore
    from quiver.storage.segment_builder import BuiltSegment


async def rebuild(index: NativeIndex) -> list[str]:
    """Rebuild what can be; the ids of the segments that were replaced.

    Segments of a newer Quiver, and those whose rows are damaged, stay as they are.
    Raises IndexSealedError, StoreRefusedError, StoreUnavailableError, ReservationLostError, DataError.
    """
    done = []
    for ref in await index.log.observe(lambda: _segments(index)):
        owner = ref.owner(index.index_id)
        root = paths.index_root(owner)
        index_object, rows = await read_objects(index.store, root, ref.id)
        if rows is None:
            continue
        found = await index.runtime.offload(_salvage, root, owner, index_object, rows, ref, index.spec)
        if found is not None and await _replace(index, ref, found):
            done.append(ref.id)
    return done


async def read_objects(store: ObjectStore, root: str, segment: str) -> tuple[memoryview, memoryview | None]:
    """The index of a segment, b"" without one, and its rows, None without any. Raises StoreUnavailableError."""
    index, rows = [
        await _get(store, paths.segment_key(root, segment, part)) for part in (paths.SEGMENT_INDEX, paths.ROWS)
    ]
    return memoryview(b"") if index is None else index, rows


async def _get(store: ObjectStore, key: str) -> memoryview | None:
    try:
        return memoryview(await store.get(key))
    except ObjectNotFoundError:
        return None


def _segments(index: NativeIndex) -> list[SegmentRef]:
    """Those of the index and of its snapshots, each once."""
    if index.log.sealed:
        raise IndexSealedError
    contents = index.state.contents
    kept = [ref for pin in contents.pins if not pin.holder for ref in pin.segments]
    return list({ref.id: ref for ref in [*kept, *contents.segments]}.values())


def _salvage(
    root: str, owner: str, index: memoryview, rows: memoryview, ref: SegmentRef, spec: IndexSpec
) -> SegmentReader | None:
    """The rows of a segment whose index is damaged; None when it is sound, or the rows are damaged too."""
    try:
        audit_segment(SegmentReader.over(root, owner, ref.id, index, rows), spec)
    except CorruptObjectError:
        pass
    else:
        return None
    try:
        found = salvage_rows(root, owner, ref.id, rows, index, spec)
    except CorruptObjectError:
        return None
    return found if found.rows == ref.rows else None


async def _replace(index: NativeIndex, old: SegmentRef, rows: SegmentReader) -> bool:
    """Whether the segment was replaced; not when it was merged away meanwhile."""
    source = SegmentsSource([rows], [np.arange(rows.rows)], index.spec.dimension)
    texts = tuple(dict.fromkeys([*index.state.texts, *old.texts]))  # those of a snapshot may be others
    options = BuildOptions(index.settings.spool, index.settings.exact_floats, progress=index.progress, texts=texts)
    built = await index.runtime.offload(build_segment, source, index.spec, options)
    new = await store_segment(index, await reserve(index), built)
    while (outcome := await _publish(index, old.id, new, built)) is None:
        pass
    if not outcome:
        await release(index, new.id)
    return outcome


async def _publish(index: NativeIndex, old: str, new: SegmentRef, built: BuiltSegment) -> bool | None:
    """Publish on top of the newest checkpoint; None when another came first and it has to be tried again."""
    async with index.maintenance.publishing:
        draft = await index.log.observe(lambda: _draft(index, old, new, built))
        if draft is None:
            return False
        await index.log.publish_checkpoint(draft)
        index.runtime.reach("checkpoint:published")
        outcome = None if await is_there(index, new.id) else True
        index.maintenance.published()
        return outcome


def _draft(index: NativeIndex, old: str, new: SegmentRef, built: BuiltSegment) -> Checkpoint | None:
    """The checkpoint underneath, with the new segment in the old one's place; None when that is not there."""
    if all(ref.id != old for ref in _segments(index)):
        return None

    def replaced(segments: list[SegmentRef]) -> list[SegmentRef]:
        return [_in_place_of(ref, new, built) if ref.id == old else ref for ref in segments]

    contents = index.state.contents
    check_reserved(contents.reserved, new.id)
    changed = replace(
        contents,
        segments=replaced(contents.segments),
        reserved=without(contents.reserved, new.id),
        volume=contents.volume.plus(0, new.nbytes),
        pins=[pin if pin.holder else replace(pin, segments=replaced(pin.segments)) for pin in contents.pins],
    )
    return index.log.redraft_checkpoint(encode_checkpoint(changed))


def _in_place_of(old: SegmentRef, new: SegmentRef, built: BuiltSegment) -> SegmentRef:
    """The new segment with the tombstones of the old one, whose rows it has in another order."""
    dead = np.flatnonzero(np.isin(built.order, row_numbers(old.dead())))
    return new.with_dead(BitMap(dead.astype(np.uint32)))
