"""Every live row of a snapshot, in batches, in whatever order it is stored."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from quiver.engine.native.flush import tail_rows
from quiver.model.types import VectorBatch
from quiver.storage.row_source import BatchSource, SegmentsSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from quiver.engine.native.snapshot import Snapshot
    from quiver.storage.row_source import RowSource


def batches_of(snapshot: Snapshot, dimension: int, rows: int) -> Iterator[Callable[[], VectorBatch]]:
    """Functions that each read up to `rows` rows. They raise DataError."""
    for source in sources_of(snapshot, dimension):
        for start in range(0, source.rows, rows):
            yield partial(_read, source, np.arange(start, min(start + rows, source.rows)))


def sources_of(snapshot: Snapshot, dimension: int) -> list[RowSource]:
    """The live rows of each segment, and of the tail."""
    sources: list[RowSource] = [
        SegmentsSource([segment.reader], [segment.live()], dimension) for segment in snapshot.segments
    ]
    return [*sources, BatchSource(tail_rows(snapshot))]


def _read(source: RowSource, chosen: NDArray[np.int64]) -> VectorBatch:
    keys, metadata = source.texts(chosen)
    return VectorBatch(list(map(bytes.decode, keys)), source.vectors(chosen), metadata)
