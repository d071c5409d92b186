"""The operations that write and read vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from quiver.engine.engine import STRONG, ListPosition
from quiver.model.errors import ValidationError
from quiver.model.types import VectorBatch
from quiver.service.context import Response
from quiver.service.metadata_rules import encode_all
from quiver.service.names import resolve_index
from quiver.service.page_tokens import Scope
from quiver.service.vector_rules import build_matrix, check_keys, without_overwritten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quiver.engine.engine import Freshness, Row
    from quiver.model.filter import Filter
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
        vectors, metadata = _wanted(params)

        async def get(index: Index) -> Response:
            self._context.pace.read(index.index_id)
            opened = await self._context.engine.open(index.index_id, index.spec)
            found = await opened.get(keys, vectors=vectors, metadata=metadata, freshness=freshness)
            return Response({"vectors": [_shown(row) for row in found.rows]}, found.commit)

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

        async def page(index: Index) -> Response:
            self._context.pace.read(index.index_id)
            scope = Scope("ListVectors", index.index_id, b"%d of %d" % (segment, segment_count))
            part = ListPart(segment, segment_count)
            return await list_page(self._context, index, scope, params, part, freshness)

        return await self._context.on_index(ref, page)


class ListPart(NamedTuple):
    """Which of an index's vectors to list: those of a part of the hash range, those that match, or all."""

    segment: int = 0
    segment_count: int = 1
    condition: Filter | None = None


async def list_page(
    context: Context, index: Index, scope: Scope, params: dict[str, Any], part: ListPart, freshness: Freshness
) -> Response:
    """A page of vectors, and a token of this scope when another follows."""
    vectors, metadata = _wanted(params)
    token = params.get("nextToken")
    after = None if token is None else context.tokens.open(scope, token, ListPosition)
    opened = await context.engine.open(index.index_id, index.spec)
    found = await opened.list(
        limit=params.get("maxResults") or LIST_RESULTS,
        max_bytes=LIST_BYTES,
        after=after,
        segment=part.segment,
        segment_count=part.segment_count,
        vectors=vectors,
        metadata=metadata,
        condition=part.condition,
        freshness=freshness,
    )
    body: dict[str, Any] = {"vectors": [_shown(row) for row in found.rows]}
    if found.position is not None:
        body["nextToken"] = context.tokens.seal(scope, found.position)
    return Response(body, found.commit)


def build_batch(records: Sequence[dict[str, Any]], spec: IndexSpec, filterable_bytes: int) -> VectorBatch:
    """Judge every record, then keep those that no later one overwrites. Raises ValidationError."""
    keys = [record["key"] for record in records]
    check_keys("vectors[{}].key", keys)
    rows = [record["data"]["float32"] for record in records]
    matrix = build_matrix(keys, rows, spec.dimension, spec.metric)
    documents = [record.get("metadata") for record in records]
    metadata = encode_all(keys, documents, spec.non_filterable, filterable_bytes=filterable_bytes)
    return without_overwritten(VectorBatch(keys, matrix, metadata))


def _distinct_keys(params: dict[str, Any]) -> list[str]:
    check_keys("keys[{}]", params["keys"])
    return list(dict.fromkeys(params["keys"]))


def _wanted(params: dict[str, Any]) -> tuple[bool, bool]:
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


def _shown(row: Row) -> dict[str, Any]:
    """A row as answers show it, with what was asked for."""
    shown: dict[str, Any] = {"key": row.key}
    if row.vector is not None:
        shown["data"] = {"float32": row.vector}
    if row.metadata is not None:
        shown["metadata"] = orjson.Fragment(row.metadata)
    return shown
