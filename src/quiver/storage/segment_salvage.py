"""Reads the rows of a segment whose index is missing or damaged: from rows.parquet alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quiver.format import paths, segment_index
from quiver.format.keys import utf8_hashes
from quiver.format.metadata_columns import decode_metadata
from quiver.format.rows_layout import read_layout
from quiver.model.errors import CorruptObjectError, DataError
from quiver.storage.segment_audit import repeated_keys
from quiver.storage.segment_reader import SegmentReader

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.model.types import IndexSpec

_STEP = 4096  # rows at a time


def salvage_rows(
    root: str, owner: str, segment: str, rows: memoryview, index: memoryview, spec: IndexSpec
) -> SegmentReader:
    """A reader that gives vectors, keys and metadata only, none of which needs the stored index.

    Every value was read once, and can be part of an index. When the stored index still has its checksums of
    rows.parquet, they hold; without them a value that became another one passes.

    Args:
        rows: rows.parquet.
        index: what is left of the index, b"" for nothing.

    Raises:
        CorruptObjectError: rows.parquet is damaged.
    """
    kept = _with_checksums(root, owner, segment, rows, index)
    if kept is not None:
        kept.verify_rows()
    key = paths.segment_key(root, segment, paths.ROWS)
    try:
        reader = SegmentReader.over(root, owner, segment, _index_of(root, owner, segment, rows, spec), rows)
        _check_values(reader)
    except CorruptObjectError as error:
        raise CorruptObjectError(f"{key}: {error.message}") from error
    return reader


def _with_checksums(
    root: str, owner: str, segment: str, rows: memoryview, index: memoryview
) -> SegmentReader | None:
    """A reader through what is left of the index; None when the checksums of rows.parquet are not."""
    try:
        reader = SegmentReader.over(root, owner, segment, index, rows)
        return reader if len(reader.block_digests) else None
    except DataError:
        return None


def _index_of(root: str, owner: str, segment: str, rows: memoryview, spec: IndexSpec) -> memoryview:
    """An index of where the values are, and of nothing else."""
    layout = read_layout(rows, spec.dimension)
    footer = segment_index.Footer(
        version=segment_index.VERSION,
        key=paths.segment_key(root, segment, paths.SEGMENT_INDEX),
        owner=owner,
        rows=len(layout.keys),
        dimension=spec.dimension,
        metric=spec.metric.value,
        partitioner="single",
        codec="flat",
        code_size=0,
        int8_size=0,
        rows_size=len(rows),
        block_bytes=segment_index.BLOCK_BYTES,
        runs=layout.runs,
        sections={},
    )
    sections: dict[str, NDArray[np.generic]] = {
        "key_offsets": layout.keys,
        "metadata_offsets": layout.metadata,
        "blocks": segment_index.block_digests(rows),
    }
    return memoryview(b"".join(segment_index.encode(footer, sections)))


def _check_values(reader: SegmentReader) -> None:
    hashes = np.empty(reader.rows, np.uint64)
    for start in range(0, reader.rows, _STEP):
        rows = np.arange(start, min(start + _STEP, reader.rows))
        if not np.isfinite(reader.take_vectors(rows)).all():
            raise CorruptObjectError("a vector is not finite")
        hashes[rows] = utf8_hashes(reader.key_bytes_of(rows))
        for document in reader.metadata_of(rows):
            decode_metadata(document)
    order = np.argsort(hashes, kind="stable")
    if repeated_keys(reader, hashes[order], order):
        raise CorruptObjectError("a key comes twice")
