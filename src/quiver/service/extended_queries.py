"""Extensions of QueryVectors: vectors with the hits, a recall for each query, many queries in one request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quiver.engine.engine import STRONG, Query
from quiver.model.errors import ValidationError
from quiver.service.context import Response
from quiver.service.names import resolve_index
from quiver.service.operations import MAX_TOP_K
from quiver.service.query_operation import QueryOperation, show_hits
from quiver.service.vector_rules import check_query_vector

if TYPE_CHECKING:
    from quiver.engine.engine import Freshness, TextQuery
    from quiver.model.types import IndexSpec
    from quiver.service.catalog_state import Index
    from quiver.service.context import Context

_TOO_MUCH = f"The topK of all queries together must be at most {MAX_TOP_K}"


class QueryWithData(QueryOperation):
    """QueryVectorsWithData."""

    operation = "QueryVectorsWithData"

    def fixed(self, params: dict[str, Any], texts: tuple[TextQuery, ...]) -> list[Any]:
        return [*super().fixed(params, texts), params.get("recall")]

    def extend(self, query: Query, params: dict[str, Any]) -> Query:
        return query._replace(vectors=_data_wanted(params, default=True), recall=params.get("recall"))


class BatchQuery:
    """BatchQueryVectors."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def query(self, params: dict[str, Any], freshness: Freshness = STRONG) -> Response:
        """The answers of all queries at one commit, in order, whole."""
        if sum(query["topK"] for query in params["queries"]) > MAX_TOP_K:
            raise ValidationError.at("queries", _TOO_MUCH)

        async def query(index: Index) -> Response:
            self._context.pace.read(index.index_id)
            queries = [self._built(query, params, index.spec) for query in params["queries"]]
            opened = await self._context.engine.open(index.index_id, index.spec)
            answers = await opened.query_many(queries, freshness)
            results = [{"vectors": show_hits(hits, len(hits.keys), params)} for hits in answers]
            body = {"results": results, "distanceMetric": index.spec.metric.value}
            return Response(body, answers[0].commit, [work for hits in answers for work in hits.work])

        return await self._context.on_index(resolve_index(params, self._context.home), query)

    def _built(self, query: dict[str, Any], params: dict[str, Any], spec: IndexSpec) -> Query:
        document = query.get("filter")
        return Query(
            check_query_vector(query["queryVector"]["float32"], spec.dimension, spec.metric),
            query["topK"],
            None if document is None else self._context.condition(document, spec),
            metadata=bool(params.get("returnMetadata")),
            recall=query.get("recall"),
            vectors=_data_wanted(params, default=False),
        )


def _data_wanted(params: dict[str, Any], *, default: bool) -> bool:
    asked = params.get("returnData")
    return default if asked is None else bool(asked)
