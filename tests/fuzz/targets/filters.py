"""Filters: parsed or refused, and the stored columns select the rows that match, whatever the filter."""

from __future__ import annotations

import json

from quiver.format.metadata_columns import MetadataColumns, decode_metadata
from quiver.model.errors import SerializationError, ValidationError
from quiver.model.filter import matches
from quiver.model.filter_parser import parse_filter
from quiver.server.limits import ServerLimits
from quiver.server.wire import parse_json

LIMITS = ServerLimits()
HIDDEN = ("hidden",)
ROWS = [
    {"n": 1, "s": "a", "tags": ["x", "y"], "b": True},
    {"n": 1.5, "s": "", "tags": ["y"], "a.b": 2},
    {"n": 2**53 + 1, "s": "\u00e9t\u00e9", "list": [1, 2.5, 3]},
    {"n": -0.0, "$eq": 1, "": "empty"},
    {"s": 5, "n": "five", "b": False, "hidden": "h"},
    {},
]
METADATA = [json.dumps(row).encode() for row in ROWS]
COLUMNS = MetadataColumns.build(METADATA, HIDDEN)
VISIBLE = [
    {name: value for name, value in decode_metadata(text).items() if name not in HIDDEN} for text in METADATA
]
SEEDS = [
    json.dumps(document).encode()
    for document in (
        {"n": 1},
        {"s": {"$startsWith": "a"}},
        {"$and": [{"n": {"$gte": 0, "$lt": 2}}, {"tags": {"$in": ["x", "z"]}}]},
        {"$or": [{"b": True}, {"a.b": {"$ne": 2}}, {"s": {"$nin": ["a", 5]}}, {"n": {"$exists": False}}]},
        {"$and": [{"$or": [{"list": 2.5}, {"": "empty"}]}, {"$eq": {"$eq": 1}}]},
        {"hidden": "h"},
        {"n": {"$gt": 9007199254740992, "$lte": 1e300}},
    )
]


def run(data: bytes) -> None:
    """JSON text of a filter."""
    try:
        condition = parse_filter(parse_json(data, LIMITS), HIDDEN)
    except (SerializationError, ValidationError):
        return
    due = [row for row, metadata in enumerate(VISIBLE) if matches(condition, metadata)]
    assert list(COLUMNS.select(condition)) == due
