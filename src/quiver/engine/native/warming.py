"""Fetches what searches begin with, or the segments' indexes whole, before anybody asks (Upkeep.warm)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from quiver.engine.upkeep import Warmed
from quiver.model.errors import MissingObjectError
from quiver.objectstore.store import ObjectNotFoundError
from quiver.storage.cache.gate import Urgency

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quiver.engine.native.index import NativeIndex
    from quiver.model.progress import Progress
    from quiver.storage.segment_reader import SegmentReader

_STEP = 16 << 20
"""Bytes that are asked for at a time: memory may drop them again before the next come."""


async def warm(index: NativeIndex, progress: Progress, *, whole: bool) -> Warmed:
    """See Upkeep.warm, for an index whose store is cached."""
    readers = await _readers(index)
    while True:
        try:
            return await _warm(index, readers, progress, whole=whole)
        except ObjectNotFoundError as error:
            newer = await _readers(index)
            if [reader.segment for reader in newer] == [reader.segment for reader in readers]:
                raise MissingObjectError(f"{error.message} is missing") from error
            readers = newer  # merged and collected meanwhile


async def _readers(index: NativeIndex) -> list[SegmentReader]:
    """Of all segments; to open one is to fetch what searches of it begin with."""
    snapshot = await index.snapshots.take(urgency=Urgency.WARMING)
    return [segment.reader for segment in snapshot.segments]


async def _warm(
    index: NativeIndex, readers: Sequence[SegmentReader], progress: Progress, *, whole: bool
) -> Warmed:
    ranges = [(reader, place) for reader in readers for place in _ranges(reader, whole=whole)]
    total, done = sum(end - start for _, (start, end) in ranges), 0
    progress("warm", 0, total)
    for reader, (start, end) in ranges:
        await index.snapshots.complete(partial(reader.require_index, start, end), urgency=Urgency.WARMING)
        await index.snapshots.settle()
        done += end - start
        progress("warm", done, total)
    return Warmed(len(readers), total)


def _ranges(reader: SegmentReader, *, whole: bool) -> list[tuple[int, int]]:
    """Parts of a segment's index object, the last first: it is what searches begin with."""
    start, end = reader.head
    parts = [(start, end)]
    while whole and start:
        start, end = max(0, start - _STEP), start
        parts.append((start, end))
    return parts
