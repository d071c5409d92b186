"""The operations that Quiver has beyond those of S3 Vectors: routes, shapes, and the actions that they need.

A table of its own, beside that of operations.py, so that no operation of S3 Vectors is bent. All are POST with a
JSON body, under /quiver/; docs/extensions.md describes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quiver.service.operations import (
    INDEX_MEMBERS,
    MAX_TOP_K,
    OPERATIONS,
    QUERY_TEXT,
    RECORD,
    VECTOR_DATA,
    VECTOR_KEY,
    Operation,
)
from quiver.service.shapes import Boolean, Document, Integer, ListOf, Number, String, Structure

if TYPE_CHECKING:
    from quiver.service.shapes import Shape

MAX_QUERIES = 100
"""Queries of one BatchQueryVectors; their topK are 10,000 at most, added up, as that of one QueryVectors is."""


@dataclass(frozen=True, slots=True)
class Extension(Operation):
    """One operation beyond S3 Vectors.

    Attributes:
        actions: what a policy has to allow, all of them: its own action, and those of S3 Vectors that come to the
            same data.
        writes: whether it may change something.
    """

    actions: tuple[str, ...] = ()
    writes: bool = False


_FILTER: dict[str, Shape] = {"filter": Document()}
_PAGE: dict[str, Shape] = {"maxResults": Integer(1, 1000), "nextToken": String(1, 2048)}
_RETURN: dict[str, Shape] = {"returnData": Boolean(), "returnMetadata": Boolean()}
_MODE: dict[str, Shape] = {"mode": String(enum=("MERGE", "REPLACE"))}
_UPDATE = Structure({"key": VECTOR_KEY, "metadata": Document()}, ("key", "metadata"))
_UPDATES: dict[str, Shape] = {"updates": ListOf(_UPDATE, 1, 500)}
_RECORDS: dict[str, Shape] = {"vectors": ListOf(RECORD, 1, 500)}
_ALL_OR_NOTHING: dict[str, Shape] = {"allOrNothing": Boolean()}
_QUERY: dict[str, Shape] = {
    "topK": Integer(1, MAX_TOP_K),
    "queryVector": VECTOR_DATA,
    "queryTexts": ListOf(QUERY_TEXT, 1, 10),
    "filter": Document(),
    "recall": Number(0.5, 1.0),
}
_QUERIES: dict[str, Shape] = {"queries": ListOf(Structure(_QUERY, ("topK",)), 1, MAX_QUERIES)}
_SHOWN: dict[str, Shape] = _RETURN | {"returnDistance": Boolean(), "returnScores": Boolean()}


def _extension(
    name: str, members: dict[str, Shape], *required: str, touches: tuple[str, ...], writes: bool = False
) -> Extension:
    actions = (f"quiver:{name}", *(f"s3vectors:{action}" for action in touches))
    shape = Structure(INDEX_MEMBERS | members, required)
    return Extension(name, "POST", f"/quiver/{name}", shape, actions=actions, writes=writes)


_ALL = (
    _extension("CountVectors", _FILTER, touches=("ListVectors", "GetVectors")),
    _extension("ListVectorsByFilter", _FILTER | _PAGE | _RETURN, "filter", touches=("ListVectors", "GetVectors")),
    _extension(
        "DeleteVectorsByFilter",
        _FILTER | {"dryRun": Boolean()},
        "filter",
        touches=("DeleteVectors", "ListVectors", "GetVectors"),
        writes=True,
    ),
    _extension(
        "UpdateMetadata",
        _UPDATES | _MODE | _ALL_OR_NOTHING,
        "updates",
        touches=("PutVectors", "GetVectors"),
        writes=True,
    ),
    _extension(
        "PutVectorsIfAbsent",
        _RECORDS | _ALL_OR_NOTHING,
        "vectors",
        touches=("PutVectors", "GetVectors"),
        writes=True,
    ),
    _extension(
        "QueryVectorsWithData",
        _QUERY | _SHOWN | {"nextToken": String(1, 4096)},
        "topK",
        touches=("QueryVectors", "GetVectors"),
    ),
    _extension(
        "BatchQueryVectors",
        _QUERIES | _SHOWN,
        "queries",
        touches=("QueryVectors", "GetVectors"),
    ),
)

EXTENSIONS: dict[str, Extension] = {extension.name: extension for extension in _ALL}
"""Every operation beyond S3 Vectors, by name."""

SERVED: dict[str, Operation] = OPERATIONS | EXTENSIONS
"""Every operation there is, by name."""
