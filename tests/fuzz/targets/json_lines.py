"""JSON Lines: refused, or read row by row and judged."""

from __future__ import annotations

import io
from typing import Any

from quiver.bulk.columns import Columns
from quiver.bulk.json_lines import JsonLinesSource
from quiver.model.errors import SerializationError, ValidationError
from quiver.model.types import DistanceMetric, IndexSpec
from quiver.service.bulk_rows import check_rows

SPEC = IndexSpec(2, DistanceMetric.EUCLIDEAN)
COLUMNS = Columns()
SEEDS = [
    b"""{"key": "a", "vector": [1, 2.5e0], "metadata": {"n": 1}}
{"key": 7, "vector": {"float32": [1, "NaN"]}, "metadata": "{\\"n\\":[1,2]}"}

{"key": "\xc3\xa9", "vector": [3, 4], "metadata": null}
""",
    b'{"id": "a", "data": [1, 2], "n": 1, "tags": ["x"]}\n{"id": "b", "data": [1, 2], "n": null, "s": "\\u00e9"}',
    *(b'{"key":"a","vector":[1,2],"n":' + b"[" * n + b"]" * n + b"}" for n in (40, 300, 900, 2000)),
]


class _File:
    """What a JsonLinesSource needs of a path."""

    suffix = ".jsonl"

    def __init__(self, content: bytes) -> None:
        self._content = content

    def open(self, _: str) -> io.BytesIO:
        """The bytes, to be read."""
        return io.BytesIO(self._content)


def run(data: bytes) -> None:
    """A file."""
    path: Any = _File(data)
    try:
        for batch in JsonLinesSource(path, COLUMNS).batches(100):
            check_rows(batch, SPEC)
    except (ValidationError, SerializationError):
        return
