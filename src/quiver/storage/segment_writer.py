"""Writes a built segment under its name: its rows, then the index derived from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from quiver.format import paths, segment_index
from quiver.storage.creation import create_object

if TYPE_CHECKING:
    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectStore
    from quiver.storage.segment_builder import BuiltSegment


_READ_WHOLE = 1 << 20  # bytes: an index object up to this size costs one request however much of it is read


class Written(NamedTuple):
    """Sizes of an index object: all of it, and its end, which every search begins with."""

    index_bytes: int
    head_bytes: int


async def write_segment(
    store: ObjectStore, runtime: Runtime, root: str, owner: str, segment: str, built: BuiltSegment
) -> Written:
    """Create both objects of segment `segment` under `root`.

    The name is new and random, so an object found there is our own earlier attempt.
    Raises StoreRefusedError, StoreUnavailableError.
    """
    key = paths.segment_key(root, segment, paths.SEGMENT_INDEX)
    footer = msgspec.structs.replace(built.footer, key=key, owner=owner)
    await create_object(store, runtime, paths.segment_key(root, segment, paths.ROWS), [built.rows_file])
    runtime.reach("segment:rows_written")
    buffers = segment_index.encode(footer, built.sections)
    await create_object(store, runtime, key, buffers)
    runtime.reach("segment:written")
    sizes = [len(buffer) for buffer in buffers]
    if sum(sizes) <= _READ_WHOLE:
        return Written(sum(sizes), sum(sizes))
    before = segment_index.sections_before_head(built.sections)
    return Written(sum(sizes), sum(sizes) - sum(sizes[: 1 + 2 * before]))
