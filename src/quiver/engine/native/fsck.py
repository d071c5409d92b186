"""Checks every byte of an index against every rule that its objects keep (Upkeep.check). Reads only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.engine.native.inspection import newest_checkpoint
from quiver.engine.native.rebuild import read_objects
from quiver.engine.native.state import IndexState, SegmentRef, contents_of
from quiver.engine.upkeep import Finding
from quiver.format import paths
from quiver.model.errors import CorruptObjectError, DataError
from quiver.objectstore.store import ObjectNotFoundError
from quiver.storage.cache.view import WholeView
from quiver.storage.checkpoint_store import CheckpointStore
from quiver.storage.index_sections import IndexSections
from quiver.storage.log_audit import audit_log
from quiver.storage.segment_audit import audit_segment
from quiver.storage.segment_reader import SegmentReader
from quiver.storage.segment_salvage import salvage_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quiver.model.runtime import Runtime
    from quiver.model.types import IndexSpec
    from quiver.objectstore.store import ObjectStore


async def check_index(store: ObjectStore, runtime: Runtime, index_id: str, spec: IndexSpec) -> list[Finding]:
    """Everything wrong with an index; [] when it is sound. Raises StoreUnavailableError.

    Run it on an index that is not written to: a log entry or segment that appears or is collected meanwhile
    may be reported.
    """
    root = paths.index_root(index_id)
    flaws = await audit_log(store, runtime, root, index_id, IndexState(spec))
    findings = [Finding(*flaw) for flaw in flaws]
    try:
        checkpoint = await newest_checkpoint(CheckpointStore(store, runtime, root, index_id))
        contents = contents_of(checkpoint)
    except DataError as error:
        return findings or [Finding(root, error.message)]
    if contents is None:
        return findings
    named: dict[str, list[SegmentRef]] = {}
    for ref in [*contents.segments, *(ref for pin in contents.pins for ref in pin.segments)]:
        named.setdefault(ref.id, []).append(ref)
    own = {ref.id for ref in contents.segments}
    alive: dict[str, str] = {}
    for id_, refs in named.items():
        findings += await _check_segment(store, runtime, index_id, spec, refs, alive if id_ in own else None)
    foreign = [refs[0] for refs in named.values() if refs[0].home]
    return findings + await _check_held(store, runtime, index_id, contents.origin, foreign)


async def _check_held(
    store: ObjectStore, runtime: Runtime, index_id: str, origin: str, foreign: Sequence[SegmentRef]
) -> list[Finding]:
    """The index that this one was cloned from keeps every segment that is another's."""
    if not foreign:
        return []
    root = paths.index_root(origin)
    checkpoints = CheckpointStore(store, runtime, root, origin)
    try:
        contents = contents_of(await newest_checkpoint(checkpoints))
    except DataError as error:
        return [Finding(paths.checkpoint_key(root, await checkpoints.newest(0) or 1), error.message)]
    pins = [pin for pin in contents.pins if pin.holder == index_id] if contents else []
    held = {ref.id for pin in pins for ref in pin.segments}
    return [
        Finding(_index_key(index_id, ref), f"index {origin} does not keep it")
        for ref in foreign
        if ref.id not in held
    ]


async def _check_segment(
    store: ObjectStore,
    runtime: Runtime,
    index_id: str,
    spec: IndexSpec,
    refs: Sequence[SegmentRef],
    alive: dict[str, str] | None,
) -> list[Finding]:
    """Check a segment, and what is said of it where it is named; its keys, too, against those `alive`."""
    ref = refs[0]
    owner = ref.owner(index_id)
    try:
        reader = await SegmentReader.open(store, paths.index_root(owner), owner, ref.id)
        await runtime.offload(_verify, reader, refs, spec)
        if alive is not None:
            await runtime.offload(_claim_keys, reader, ref, alive)
    except ObjectNotFoundError as error:
        found = Finding(_index_key(index_id, ref), f"missing: {error.message}")
    except DataError as error:
        found = Finding(_index_key(index_id, ref), error.message)
    else:
        return []
    objects = await read_objects(store, paths.index_root(owner), ref.id)
    wrong = await _rows_problem(runtime, owner, spec, ref, objects)
    if wrong is None:
        return [found]
    sound = await runtime.offload(_is_sound, found.key, owner, objects[0])
    return [
        *([] if sound else [found]),
        Finding(paths.segment_key(paths.index_root(owner), ref.id, paths.ROWS), wrong),
    ]


async def _rows_problem(
    runtime: Runtime,
    owner: str,
    spec: IndexSpec,
    ref: SegmentRef,
    objects: tuple[memoryview, memoryview | None],
) -> str | None:
    """What is wrong with the rows of a segment that is damaged; None when it can be rebuilt from them."""
    index, rows = objects
    if rows is None:
        return "missing"
    try:
        found = await runtime.offload(salvage_rows, paths.index_root(owner), owner, ref.id, rows, index, spec)
    except DataError as error:
        return error.message
    return None if found.rows == ref.rows else f"{found.rows} rows, its checkpoint says {ref.rows}"


def _is_sound(key: str, owner: str, index: memoryview) -> bool:
    """Whether every section of a segment's index has its checksum."""
    try:
        sections = IndexSections(key, owner, WholeView(index))
        for name in sections.footer.sections:
            sections.section(name)
    except DataError:
        return False
    return True


def _verify(reader: SegmentReader, refs: Sequence[SegmentRef], spec: IndexSpec) -> None:
    """What the segment holds, and what is said of it where it is named. Raises CorruptObjectError."""
    reader.check_spec(spec)
    audit_segment(reader, spec)
    for ref in refs:
        if reader.rows != ref.rows:
            raise CorruptObjectError(f"segment {ref.id}: {reader.rows} rows, its checkpoint says {ref.rows}")
        stored = reader.texts.stored
        if ref.texts and (ref.analysis, ref.texts) != (stored.analysis, [each.field for each in stored.fields]):
            raise CorruptObjectError(f"segment {ref.id}: not the text fields that its checkpoint says")
        ref.dead()


def _claim_keys(reader: SegmentReader, ref: SegmentRef, alive: dict[str, str]) -> None:
    """No key is alive in two segments. Raises CorruptObjectError."""
    dead = ref.dead()
    for row in range(reader.rows):
        if row not in dead:
            other = alive.setdefault(reader.key(row), ref.id)
            if other != ref.id:
                raise CorruptObjectError(f"segment {ref.id}: a key is alive in segment {other} too")


def _index_key(index_id: str, ref: SegmentRef) -> str:
    return paths.segment_key(paths.index_root(ref.owner(index_id)), ref.id, paths.SEGMENT_INDEX)
