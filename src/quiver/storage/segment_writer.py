"""Writes a built segment under its name: its rows, then the index derived from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from quiver.format import paths, segment_index
from quiver.storage.cache.view import BLOCK
from quiver.storage.creation import create_object

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectStore
    from quiver.storage.segment_builder import BuiltSegment


_READ_WHOLE = 1 << 20  # bytes: an index object up to this size costs one request however much of it is read


class Written(NamedTuple):
    """An index object: its size, that of its end, which every search begins with, and this end.

    Attributes:
        head: the last bytes, from the beginning of the block on in which the first of `head_bytes` lies.
    """

    index_bytes: int
    head_bytes: int
    head: bytes


async def write_rows(store: ObjectStore, runtime: Runtime, root: str, segment: str, rows_file: memoryview) -> None:
    """Create the rows of segment `segment` under `root`; `write_index` completes it.

    Raises StoreRefusedError, StoreUnavailableError.
    """
    await create_object(store, runtime, paths.segment_key(root, segment, paths.ROWS), [rows_file])
    runtime.reach("segment:rows_written")


async def write_index(
    store: ObjectStore, runtime: Runtime, root: str, owner: str, segment: str, built: BuiltSegment
) -> Written:
    """Create the index of a segment whose rows are there.

    The name is new and random, so an object found there is our own earlier attempt.
    Raises StoreRefusedError, StoreUnavailableError.
    """
    key = paths.segment_key(root, segment, paths.SEGMENT_INDEX)
    footer = msgspec.structs.replace(built.footer, key=key, owner=owner)
    buffers = segment_index.encode(footer, built.sections)
    await create_object(store, runtime, key, buffers)
    runtime.reach("segment:written")
    sizes = [len(buffer) for buffer in buffers]
    size, start = sum(sizes), 0
    if size > _READ_WHOLE:
        start = sum(sizes[: 1 + 2 * segment_index.sections_before_head(built.sections)])
    return Written(size, size - start, _end_of(buffers, size - start // BLOCK * BLOCK))


def _end_of(buffers: Sequence[bytes | memoryview], nbytes: int) -> bytes:
    """The last bytes of all buffers together."""
    taken: list[bytes | memoryview] = []
    for buffer in reversed(buffers):
        if nbytes <= 0:
            break
        taken.append(memoryview(buffer)[-nbytes:])
        nbytes -= len(buffer)
    return b"".join(reversed(taken))
