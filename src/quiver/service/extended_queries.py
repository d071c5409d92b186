"""Extensions of QueryVectors: vectors with the hits, a recall for each query, many queries in one request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from quiver.engine.engine import STRONG, Query, TextFieldBuildingError, UnknownTextFieldError
from quiver.model.errors import ValidationError
from quiver.service.context import Response
from quiver.service.names import resolve_index
from quiver.service.operations import MAX_TOP_K
from quiver.service.query_operation import QueryOperation, show_hits, texts_asked, vector_asked
from quiver.service.text_search import TEXTS_TO_ASK, refusal_of

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        return replace(query, vectors=_data_wanted(params, default=True), recall=params.get("recall"))


class BatchQuery:
    """BatchQueryVectors."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def query(self, params: dict[str, Any], freshness: Freshness = STRONG) -> Response:
        """The answers of all queries at one commit, in order, whole."""
        if sum(query["topK"] for query in params["queries"]) > MAX_TOP_K:
            raise ValidationError.at("queries", _TOO_MUCH)
        texts = [texts_asked(query, f"queries[{place}].") for place, query in enumerate(params["queries"])]

        async def query(index: Index) -> Response:
            self._context.pace.read(index.index_id)
            queries = [
                self._built(query, params, index.spec, words)
                for query, words in zip(params["queries"], texts, strict=True)
            ]
            opened = await self._context.engine.open(index.index_id, index.spec)
            try:
                answers = await opened.query_many(queries, freshness)
            except (UnknownTextFieldError, TextFieldBuildingError) as error:
                raise _refusal_of(error, texts) from error

            def body() -> dict[str, Any]:
                results = [{"vectors": show_hits(hits, params)} for hits in answers]
                return {"results": results, "distanceMetric": index.spec.metric.value}

            return Response(body, answers[0].commit, [work for hits in answers for work in hits.work], answers)

        return await self._context.on_index(resolve_index(params, self._context.home), query)

    def _built(
        self, query: dict[str, Any], params: dict[str, Any], spec: IndexSpec, texts: tuple[TextQuery, ...]
    ) -> Query:
        document = query.get("filter")
        return Query(
            vector_asked(query, spec),
            query["topK"],
            None if document is None else self._context.condition(document, spec),
            metadata=bool(params.get("returnMetadata")),
            recall=query.get("recall"),
            texts=texts,
            vectors=_data_wanted(params, default=False),
        )


def _refusal_of(
    error: UnknownTextFieldError | TextFieldBuildingError, texts: Sequence[tuple[TextQuery, ...]]
) -> ValidationError:
    """The refusal, at the first query that asks for the field."""
    asked = [[text.key for text in of_query] for of_query in texts]
    place = next(place for place, keys in enumerate(asked) if error.key in keys)
    return refusal_of(error, f"queries[{place}].{TEXTS_TO_ASK}", asked[place])


def _data_wanted(params: dict[str, Any], *, default: bool) -> bool:
    asked = params.get("returnData")
    return default if asked is None else bool(asked)
