"""QueryVectors: nearest neighbours, in pages.

A page token is a place in the ranking, not a stored result: the next page is computed on the index as it is then.
Vectors that stay as they are appear exactly once over all pages.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from quiver.engine.engine import STRONG, Cursor, Query
from quiver.model.errors import ValidationError
from quiver.service.context import Response
from quiver.service.names import resolve_index
from quiver.service.page_tokens import QUERY_LIFETIME, Scope
from quiver.service.vector_rules import check_query_vector

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from quiver.engine.engine import Freshness, Hits
    from quiver.service.catalog_state import Index
    from quiver.service.context import Context

PAGE_RESULTS = 100

_NO_TEXTS = "queryTexts is not supported by this server"
_NO_VECTOR = "queryVector must be specified"
_NO_CLASSIC = "queryMode cannot be CLASSIC when indexMode is ENHANCED"


class _Place(NamedTuple):
    """Where the next page starts: after this distance (a float32, held exactly) and key, `returned` hits down."""

    distance: float
    key: str
    returned: int


class QueryOperation:
    """QueryVectors; the extension that does more inherits from it."""

    operation = "QueryVectors"

    def __init__(self, context: Context) -> None:
        self._context = context

    async def query(self, params: dict[str, Any], freshness: Freshness = STRONG) -> Response:
        """The next page of at most 100 of the topK nearest vectors."""
        ref = resolve_index(params, self._context.home)
        _check_kind(params)

        async def page(index: Index) -> Response:
            if params.get("queryMode") == "CLASSIC":
                raise ValidationError(_NO_CLASSIC)
            return await self._page(index, params, freshness)

        return await self._context.on_index(ref, page)

    def fixed(self, params: dict[str, Any]) -> list[Any]:
        """What, besides the vector, has to stay the same from page to page."""
        return [params["topK"], params.get("filter")]

    def extend(self, query: Query, _: dict[str, Any]) -> Query:
        """The query with what its operation has beyond QueryVectors."""
        return query

    async def _page(self, index: Index, params: dict[str, Any], freshness: Freshness) -> Response:
        document, top_k, metadata = params.get("filter"), params["topK"], bool(params.get("returnMetadata"))
        vector = check_query_vector(params["queryVector"]["float32"], index.spec.dimension, index.spec.metric)
        condition = None if document is None else self._context.condition(document, index.spec)

        def scope() -> Scope:  # a digest takes a tenth of the time of a small query: only several pages need one
            return Scope(self.operation, index.index_id, _digest(vector, self.fixed(params)))

        token = params.get("nextToken")
        place = None
        if token is not None:
            place = self._context.tokens.open(scope(), token, _Place, QUERY_LIFETIME)
        after = None if place is None else Cursor(place.distance, place.key, place.returned)
        returned = 0 if place is None else place.returned
        size = min(PAGE_RESULTS, top_k - returned)
        more = top_k - returned > size  # one hit beyond the page tells whether another page follows
        opened = await self._context.engine.open(index.index_id, index.spec)
        query = Query(vector, size + more, condition, after, metadata, total=top_k)
        hits = await opened.query(self.extend(query, params), freshness)
        body: dict[str, Any] = {
            "vectors": show_hits(hits, size, distances=bool(params.get("returnDistance"))),
            "distanceMetric": index.spec.metric.value,
        }
        if len(hits.keys) > size:
            last = _Place(float(hits.distances[size - 1]), hits.keys[size - 1], returned + size)
            body["nextToken"] = self._context.tokens.seal(scope(), last)
        return Response(body, hits.commit, hits.work)


def _check_kind(params: dict[str, Any]) -> None:
    if params.get("queryTexts") is not None:
        raise ValidationError.at("queryTexts", _NO_TEXTS)
    if params.get("queryVector") is None:
        raise ValidationError.at("queryVector", _NO_VECTOR)


def _digest(vector: NDArray[np.float32], fixed: list[Any]) -> bytes:
    """Of all that has to stay the same from page to page. What a page shows of its hits may change."""
    digest = hashlib.sha256(vector.tobytes())
    digest.update(json.dumps(fixed, sort_keys=True).encode())
    return digest.digest()


def show_hits(hits: Hits, size: int, *, distances: bool) -> Sequence[dict[str, Any]]:
    """The first `size` hits as answers show them."""
    shown: list[dict[str, Any]] = [{"key": key} for key in hits.keys[:size]]
    if distances:
        for vector, distance in zip(shown, hits.distances.tolist(), strict=False):
            vector["distance"] = distance
    if hits.metadata is not None:
        for vector, metadata in zip(shown, hits.metadata, strict=False):
            vector["metadata"] = orjson.Fragment(metadata)
    if hits.vectors is not None:
        for vector, components in zip(shown, hits.vectors, strict=False):
            vector["data"] = {"float32": components}
    return shown
