"""The fast way in for PutVectors: structure by msgspec, float arrays by simdjson straight into NumPy.

It only ever answers for bodies that need no second look; whatever is malformed, mistyped, unknown or non-finite is
left to the strict reading in `wire`, which keeps exact values and types so that the service can name the culprit.
One difference remains: of duplicate structural members (`vectors`, `key`, `data`, ...) the last one counts here.
Duplicates inside metadata are refused on both ways.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import simdjson
from msgspec import UNSET, Raw, Struct, UnsetType

from quiver.model.errors import SerializationError
from quiver.model.strict_json import float32_array

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_METADATA_OPENINGS = 32
"""Metadata with more brackets than this gets the full nesting check of the strict reading."""


class _Data(Struct, forbid_unknown_fields=True):
    float32: Raw


class _Vector(Struct, forbid_unknown_fields=True):
    key: str | UnsetType = UNSET
    data: _Data | UnsetType = UNSET
    metadata: Raw | UnsetType = UNSET


class _PutVectors(Struct, forbid_unknown_fields=True):
    vectors: list[_Vector]
    vector_bucket_name: str | UnsetType = msgspec.field(default=UNSET, name="vectorBucketName")
    index_name: str | UnsetType = msgspec.field(default=UNSET, name="indexName")
    index_arn: str | UnsetType = msgspec.field(default=UNSET, name="indexArn")


_decoder = msgspec.json.Decoder(_PutVectors)


def read_put_vectors(body: bytes, parse_metadata: Callable[[bytes], Any]) -> dict[str, Any] | None:
    """Parameters with a float32 array per vector, or None when the body needs the strict reading.

    Args:
        body: the request body.
        parse_metadata: strict JSON for one small value.
    """
    try:
        request = _decoder.decode(body)
        if not body.isascii():
            str(body, "utf-8")
        parser = simdjson.Parser()
        params: dict[str, Any] = {
            "vectors": [_vector(vector, parser, parse_metadata) for vector in request.vectors]
        }
    except (msgspec.MsgspecError, ValueError, TypeError, RuntimeError, SerializationError):
        return None
    names = (
        ("vectorBucketName", request.vector_bucket_name),
        ("indexName", request.index_name),
        ("indexArn", request.index_arn),
    )
    params.update((name, value) for name, value in names if value is not UNSET)
    return params


def _vector(vector: _Vector, parser: simdjson.Parser, parse_metadata: Callable[[bytes], Any]) -> dict[str, Any]:
    item: dict[str, Any] = {}
    if vector.key is not UNSET:
        item["key"] = vector.key
    if vector.data is not UNSET:
        item["data"] = {"float32": float32_array(bytes(vector.data.float32), parser)}
    if vector.metadata is not UNSET:
        metadata = bytes(vector.metadata)
        if metadata.count(b"[") + metadata.count(b"{") > MAX_METADATA_OPENINGS:
            raise ValueError("metadata needs the nesting check")
        item["metadata"] = parse_metadata(metadata)
    return item
