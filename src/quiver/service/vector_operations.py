"""The operations that write and read vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from quiver.engine.engine import STRONG, ListPosition
from quiver.model.errors import ValidationError
from quiver.model.types import VectorBatch
from quiver.service.context import Response
from quiver.service.metadata_rules import encode_all
from quiver.service.names import resolve_index
from quiver.service.page_tokens import Scope
from quiver.service.vector_rules import build_matrix, check_keys, last_of_each_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quiver.engine.engine import Freshness, Row
    from quiver.model.types import IndexSpec
    from quiver.service.catalog_state import Index
    from quiver.service.context import Context

LIST_RESULTS = 500
"""Vectors of a ListVectors page when the request does not say."""
LIST_BYTES = 1 << 20
"""Processed data after which a ListVectors page ends."""


class VectorOperations:
    """One method per operation: parameters that were validated in, a response out."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def put(self, params: dict[str, Any]) -> Response:
        """PutVectors. Of several records with one key the last one counts."""
        ref = resolve_index(params, self._context.home)

        async def put(index: Index) -> Response:
            self._context.pace.write(index.index_id, len(params["vectors"]))
            batch = await self._context.runtime.offload(
                build_batch, params["vectors"], index.spec, self._context.leniency.filterable_bytes
            )
            opened = await self._context.engine.open(index.index_id, index.spec)
            return Response(commit=await opened.put(batch))

        return await self._context.on_index(ref, put)

    async def get(self, params: dict[str, Any], freshness: Freshness = STRONG) -> Response:
        """GetVectors. Keys that do not exist are left out; the order is not promised."""
        ref, keys = resolve_index(params, self._context.home), _distinct_keys(params)
        vectors, metadata = wanted(params)

        async def get(index: Index) -> Response:
            self._context.pace.read(index.index_id)
            opened = await self._context.engine.open(index.index_id, index.spec)
            found = await opened.get(keys, vectors=vectors, metadata=metadata, freshness=freshness)
            return Response({"vectors": [show_row(row) for row in found.rows]}, found.commit)

        return await self._context.on_index(ref, get)

    async def delete(self, params: dict[str, Any]) -> Response:
        """DeleteVectors. Keys that do not exist are ignored."""
        ref, keys = resolve_index(params, self._context.home), _distinct_keys(params)

        async def delete(index: Index) -> Response:
            self._context.pace.write(index.index_id, len(keys))
            opened = await self._context.engine.open(index.index_id, index.spec)
            return Response(commit=await opened.delete(keys))

        return await self._context.on_index(ref, delete)

    async def list(self, params: dict[str, Any], freshness: Freshness = STRONG) -> Response:
        """ListVectors. A token fits the same index and the same segment of it."""
        ref, (segment, segment_count) = resolve_index(params, self._context.home), _segment(params)
        vectors, metadata = wanted(params)
        token, tokens = params.get("nextToken"), self._context.tokens

        async def page(index: Index) -> Response:
            self._context.pace.read(index.index_id)
            scope = Scope("ListVectors", index.index_id, b"%d of %d" % (segment, segment_count))
            after = None if token is None else tokens.open(scope, token, ListPosition)
            opened = await self._context.engine.open(index.index_id, index.spec)
            found = await opened.list(
                limit=params.get("maxResults") or LIST_RESULTS,
                max_bytes=LIST_BYTES,
                after=after,
                segment=segment,
                segment_count=segment_count,
                vectors=vectors,
                metadata=metadata,
                freshness=freshness,
            )
            body: dict[str, Any] = {"vectors": [show_row(row) for row in found.rows]}
            if found.position is not None:
                body["nextToken"] = tokens.seal(scope, found.position)
            return Response(body, found.commit)

        return await self._context.on_index(ref, page)


def build_batch(records: Sequence[dict[str, Any]], spec: IndexSpec, filterable_bytes: int) -> VectorBatch:
    """Judge every record, then keep those that no later one overwrites. Raises ValidationError."""
    keys = [record["key"] for record in records]
    check_keys("vectors[{}].key", keys)
    rows = [record["data"]["float32"] for record in records]
    matrix = build_matrix(keys, rows, spec.dimension, spec.metric)
    documents = [record.get("metadata") for record in records]
    metadata = encode_all(keys, documents, spec.non_filterable, filterable_bytes=filterable_bytes)
    kept = last_of_each_key(keys)
    if len(kept) == len(keys):
        return VectorBatch(keys, matrix, metadata)
    return VectorBatch([keys[row] for row in kept], matrix[kept], [metadata[row] for row in kept])


def _distinct_keys(params: dict[str, Any]) -> list[str]:
    check_keys("keys[{}]", params["keys"])
    return list(dict.fromkeys(params["keys"]))


def wanted(params: dict[str, Any]) -> tuple[bool, bool]:
    """Whether to return vectors and whether to return metadata."""
    return bool(params.get("returnData")), bool(params.get("returnMetadata"))


def _segment(params: dict[str, Any]) -> tuple[int, int]:
    """Which part of how many to list."""
    segment, count = params.get("segmentIndex"), params.get("segmentCount")
    if segment is None and count is None:
        return 0, 1
    if segment is None or count is None:
        raise ValidationError("Must specify either both segmentCount and segmentIndex or neither")
    if segment >= count:
        raise ValidationError.at("segmentIndex", "segmentIndex must be less than segmentCount")
    return segment, count


def show_row(row: Row) -> dict[str, Any]:
    """A row as answers show it, with what was asked for."""
    shown: dict[str, Any] = {"key": row.key}
    if row.vector is not None:
        shown["data"] = {"float32": row.vector}
    if row.metadata is not None:
        shown["metadata"] = orjson.Fragment(row.metadata)
    return shown
