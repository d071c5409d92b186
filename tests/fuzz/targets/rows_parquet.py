"""rows.parquet as salvage reads it: nothing but the file is there to tell where everything is."""

from __future__ import annotations

import io

import numpy as np

from quiver.format.rows_layout import read_layout
from quiver.format.rows_parquet import RowsWriter
from quiver.model.errors import DataError
from quiver.storage.segment_emitter import text_page

DIMENSION = 3


def _file() -> bytes:
    sink = io.BytesIO()
    writer = RowsWriter(sink, DIMENSION)
    vectors = np.random.default_rng(1).normal(size=(8, DIMENSION)).astype(np.float32)
    keys, metadata = ([form % n for n in range(8)] for form in (b"k%d", b'{"n":%d}'))
    writer.write(text_page(keys), [vectors], text_page(metadata))
    writer.finish()
    return sink.getvalue()


SEEDS = [_file()]


def run(data: bytes) -> None:
    """A whole file."""
    try:
        layout = read_layout(memoryview(data), DIMENSION)
    except DataError:
        return
    for run_ in layout.runs:
        assert 0 <= run_.offset <= len(data) - 4 * DIMENSION * run_.rows
    for offsets in (layout.keys, layout.metadata):
        assert not len(offsets) or int(offsets.max()) <= len(data) - 4
