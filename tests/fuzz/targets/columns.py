"""Metadata columns: decoded, and asked by filters of every kind."""

from __future__ import annotations

import json

from quiver.format.metadata_columns import MetadataColumns
from quiver.model.errors import DataError
from quiver.model.filter_parser import parse_filter

ROWS = 200
METADATA = [
    {"n": n % 7, "s": ["a", "ab", "\u00e9"][n % 3], "tags": ["x", "y"][: n % 2 + 1], "b": n % 2 == 0, "f": n / 4}
    for n in range(ROWS)
]
FILTERS = [
    parse_filter(document)
    for document in (
        {"n": 3},
        {"n": {"$gt": 1, "$lte": 5}},
        {"s": {"$startsWith": "a"}},
        {"s": {"$in": ["a", "z"]}},
        {"tags": {"$nin": ["x"]}},
        {"b": {"$ne": True}},
        {"f": {"$gte": 10.25}},
        {"absent": {"$exists": False}},
        {"$or": [{"tags": "y"}, {"$and": [{"b": False}, {"n": {"$exists": True}}]}]},
    )
]
SEEDS = [
    MetadataColumns.build([json.dumps(row).encode() for row in METADATA]).encode(),
    MetadataColumns.build([b'{"n":%d}' % n for n in range(3)] + [b"{}"] * (ROWS - 3)).encode(),
    MetadataColumns.build([b"{}"] * ROWS).encode(),
]


def run(data: bytes) -> None:
    """The section of columns of a segment."""
    try:
        columns = MetadataColumns.decode(memoryview(data), ROWS)
    except DataError:
        return
    for condition in FILTERS:
        try:
            found = columns.select(condition)
        except DataError:
            continue
        assert not found or found.max() < ROWS
