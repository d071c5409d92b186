"""Loads: many rows become one segment without passing through the log, visible all at once.

Rows gather in a spool, are built into a segment, and are written under a reserved name. Then a checkpoint as of
the newest commit names the segment, with tombstones for every older row of the same key. So the load stands just
after that commit: entries past it, acknowledged while the checkpoint was on its way, are applied on top.

A conditional write must not be among these, for it would have been judged without the load. So the load is
announced in a checkpoint before, and then takes a slot of the log (conditional.py tells why both).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from pyroaring import BitMap

from quiver.engine.engine import Loaded
from quiver.engine.native.flush import (
    TextsChangedError,
    begin,
    build_options,
    bury,
    publish,
    store_index,
    store_tail,
)
from quiver.engine.native.reservation import check_reserved, close, is_reserved, published, release, reserve
from quiver.format.keys import key_hashes
from quiver.format.log_entry import Part, PartKind
from quiver.model.errors import MissingObjectError, QuiverError
from quiver.objectstore.store import ObjectNotFoundError
from quiver.storage.segment_builder import begin_segment
from quiver.storage.segment_writer import write_rows
from quiver.storage.spooled_rows import SpooledRows

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Sequence

    from numpy.typing import NDArray

    from quiver.engine.native.index import NativeIndex
    from quiver.engine.native.snapshot import OpenSegment
    from quiver.engine.native.state import SegmentRef
    from quiver.model.progress import Progress
    from quiver.model.types import VectorBatch
    from quiver.storage.segment_reader import SegmentReader


async def load(index: NativeIndex, batches: AsyncIterable[VectorBatch], progress: Progress) -> Loaded:
    """See Index.load."""
    spooled = await _spool(index, aiter(batches))
    snapshot = await index.snapshots.take()
    if not spooled.rows:
        return Loaded(0, snapshot.commit)
    source = await index.runtime.offload(spooled.source)
    while True:
        options = await build_options(index, snapshot, progress)
        begun = await index.runtime.offload(begin_segment, source, index.spec, options)
        segment, built = await asyncio.gather(
            _store_rows(index, begun.rows_file), index.runtime.offload(begun.finish)
        )
        loaded = await store_index(index, segment, built)
        index.runtime.reach("load:written")
        try:
            return Loaded(loaded.rows, await _bring_in(index, loaded, spooled.nbytes))
        except TextsChangedError:
            await release(index, loaded.id)
            snapshot = await index.snapshots.take()
        except QuiverError:
            with suppress(QuiverError):  # else it is given up when nobody has heard of it for long
                await release(index, loaded.id)
            raise


async def _spool(index: NativeIndex, batches: AsyncIterator[VectorBatch]) -> SpooledRows:
    """All rows; each batch is taken in while the next one is read, and both have ended when either fails."""
    spooled = SpooledRows(index.settings.spool, index.spec.dimension)
    batch = await anext(batches, None)
    while batch is not None:
        taken_in = index.runtime.offload(spooled.append, batch)
        taken, following = await asyncio.gather(taken_in, anext(batches, None), return_exceptions=True)
        if isinstance(taken, BaseException):
            raise taken
        if isinstance(following, BaseException):
            raise following
        batch = following
    return spooled


async def _store_rows(index: NativeIndex, rows_file: memoryview) -> str:
    """Write the rows of a new segment; its name."""
    segment = await reserve(index)
    await write_rows(index.store, index.runtime, index.root, segment, rows_file)
    return segment


async def _bring_in(index: NativeIndex, loaded: SegmentRef, nbytes: int) -> int:
    """Announce the load and publish it; the commit that it stands after."""
    reader = await index.snapshots.open(loaded)
    await close(index, loaded.id)
    index.runtime.reach("load:closing")
    await index.log.append(Part(PartKind.NOTHING, b""))
    while (commit := await _publish(index, loaded, reader, nbytes)) is None:
        pass
    index.runtime.reach("load:published")
    return commit


async def _publish(index: NativeIndex, loaded: SegmentRef, reader: SegmentReader, nbytes: int) -> int | None:
    """Publish on top of the newest commit, which is returned; None when another checkpoint came first."""
    async with index.maintenance.publishing:
        draft = await begin(index)
        check_reserved(draft.contents.reserved, loaded.id)
        draft.check_texts(loaded)
        supersede = partial(_supersede, draft.snapshot.segments, reader)
        try:
            segments = await index.snapshots.complete(supersede, index.runtime.offload)
        except ObjectNotFoundError as error:
            if await index.log.checkpoints.newest(draft.checkpoint.generation - 1) is None:
                raise MissingObjectError(f"{error.message} is missing") from error
            return None
        kept = bury(draft.contents.segments, msgspec.structs.replace(draft.snapshot, segments=segments))
        tail = await store_tail(index, draft, lambda keys: _found(reader, keys))
        added = [loaded, *tail]
        reserved = published(draft.contents.reserved, loaded.id)
        await publish(index, draft, kept + added, added, reserved, loaded_bytes=nbytes)
        return None if await is_reserved(index, loaded.id) else draft.snapshot.commit


def _found(reader: SegmentReader, keys: Sequence[str]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = reader.find(keys, key_hashes(keys)) >= 0
    return found


def _supersede(segments: Sequence[OpenSegment], loaded: SegmentReader) -> list[OpenSegment]:
    """The segments with every row dead whose key is in the loaded one."""
    return [segment._replace(dead=segment.dead | _shared(segment.reader, loaded)) for segment in segments]


def _shared(reader: SegmentReader, loaded: SegmentReader) -> BitMap:
    """Rows whose key the other segment holds too."""
    common = np.isin(reader.key_hashes, loaded.key_hashes, kind="sort")
    rows = reader.key_rows[common]
    return BitMap(rows[_found(loaded, reader.keys_of(rows))])
