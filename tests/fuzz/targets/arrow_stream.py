"""Arrow streams that strangers load: refused, or read row by row and judged."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa

from quiver.bulk.arrow_stream import open_arrow_stream
from quiver.bulk.columns import Columns
from quiver.model.errors import SerializationError, ValidationError
from quiver.model.types import DistanceMetric, IndexSpec
from quiver.service.bulk_rows import check_rows

SPEC = IndexSpec(2, DistanceMetric.EUCLIDEAN)
COLUMNS = Columns()


def _stream(**more: Any) -> bytes:
    vectors = pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2))
    data = pa.table({"key": ["a", "b"], "vector": vectors, **more})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, data.schema) as writer:
        writer.write_table(data, max_chunksize=1)
    return sink.getvalue()


SEEDS = [
    _stream(),
    _stream(metadata=['{"n":1}', None]),
    _stream(n=[1, None], s=["x", "y"], tags=[["p"], None], m=[{"q": 1}, None]),
    _stream(metadata=pa.array([[("n", 1)], []], pa.map_(pa.string(), pa.int64()))),
]


def run(data: bytes) -> None:
    """The body of a load."""
    try:
        source = open_arrow_stream(data, COLUMNS)
        for batch in source.batches(100):
            check_rows(batch, SPEC)
    except (ValidationError, SerializationError):
        return
