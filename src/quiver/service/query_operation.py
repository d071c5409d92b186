"""QueryVectors: nearest neighbours, texts by relevance, or both fused, in pages.

A page token is a place in the ranking, not a stored result: the next page is computed on the index as it is then.
Vectors that stay as they are appear exactly once over all pages of a search by vector alone. Relevance depends on
all texts of the index, so with texts a write between two pages may move others over the border of a page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from quiver.engine.engine import STRONG, Cursor, Query, TextFieldBuildingError, UnknownTextFieldError
from quiver.model.errors import ValidationError
from quiver.service.context import Response
from quiver.service.names import resolve_index
from quiver.service.page_tokens import QUERY_LIFETIME, Scope, digest
from quiver.service.text_search import TEXTS_TO_ASK, queries_of, refusal_of, shown_scores
from quiver.service.vector_rules import check_query_vector

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from quiver.engine.engine import Freshness, Hits, Scores, TextQuery
    from quiver.model.types import IndexSpec
    from quiver.service.catalog_state import Index
    from quiver.service.context import Context

PAGE_RESULTS = 100

_NO_QUESTION = "At least one of queryVector and queryTexts must be specified"
_NO_CLASSIC = "queryMode cannot be CLASSIC when indexMode is ENHANCED"


class _Place(NamedTuple):
    """Where the next page starts: after this place in the ranking (held exactly) and key, `returned` hits down."""

    place: float
    key: str
    returned: int


class QueryOperation:
    """QueryVectors; the extension that does more inherits from it."""

    operation = "QueryVectors"

    def __init__(self, context: Context) -> None:
        self._context = context

    async def query(self, params: dict[str, Any], freshness: Freshness = STRONG) -> Response:
        """The next page of at most 100 of the topK best vectors."""
        ref = resolve_index(params, self._context.home)
        texts = texts_asked(params)

        def page(index: Index) -> Awaitable[Response]:
            if params.get("queryMode") == "CLASSIC":
                raise ValidationError(_NO_CLASSIC)
            self._context.pace.read(index.index_id)
            return self._page(index, params, texts, freshness)

        return await self._context.on_index(ref, page)

    def fixed(self, params: dict[str, Any], texts: tuple[TextQuery, ...]) -> list[Any]:
        """What, besides the vector, has to stay the same from page to page."""
        return [params["topK"], params.get("filter"), texts]

    def extend(self, query: Query, _: dict[str, Any]) -> Query:
        """The query with what its operation has beyond QueryVectors."""
        return query

    async def _page(
        self, index: Index, params: dict[str, Any], texts: tuple[TextQuery, ...], freshness: Freshness
    ) -> Response:
        document, top_k, metadata = params.get("filter"), params["topK"], bool(params.get("returnMetadata"))
        spec = index.spec
        vector = vector_asked(params, spec)
        condition = None if document is None else self._context.condition(document, spec)

        def scope() -> Scope:  # a digest takes a tenth of the time of a small query: only several pages need one
            asked = b"" if vector is None else vector.tobytes()
            return Scope(self.operation, index.index_id, digest(self.fixed(params, texts), asked))

        token = params.get("nextToken")
        place = None
        if token is not None:
            place = self._context.tokens.open(scope(), token, _Place, QUERY_LIFETIME)
        after = None if place is None else Cursor(place.place, place.key, place.returned)
        returned = 0 if place is None else place.returned
        size = min(PAGE_RESULTS, top_k - returned)
        more = top_k - returned > size  # one hit beyond the page tells whether another page follows
        opened = await self._context.engine.open(index.index_id, spec)
        query = Query(vector, size + more, condition, after, metadata, total=top_k, texts=texts)
        try:
            hits = await opened.query(self.extend(query, params), freshness)
        except (UnknownTextFieldError, TextFieldBuildingError) as error:
            raise refusal_of(error, TEXTS_TO_ASK, [text.key for text in texts]) from error
        token = None
        if len(hits.keys) > size:
            last = _Place(float(hits.places[size - 1]), hits.keys[size - 1], returned + size)
            token = self._context.tokens.seal(scope(), last)
            hits = hits.first(size)

        def body() -> dict[str, Any]:
            shown = {"vectors": show_hits(hits, params), "distanceMetric": str(spec.metric)}
            return shown if token is None else shown | {"nextToken": token}

        return Response(body, hits.commit, hits.work, [hits], token)


def texts_asked(query: dict[str, Any], path: str = "") -> tuple[TextQuery, ...]:
    """The texts of a query whose members are at `path`.

    Raises: ValidationError: it asks with neither a vector nor texts, or a metadata key is named twice.
    """
    texts = query.get("queryTexts")
    if texts is None:
        if query.get("queryVector") is None:
            raise ValidationError.at(f"{path}queryVector", _NO_QUESTION)
        return ()
    return queries_of(texts, path + TEXTS_TO_ASK)


def vector_asked(query: dict[str, Any], spec: IndexSpec) -> NDArray[np.float32] | None:
    """The vector of a query, if it has one. Raises: ValidationError: it does not suit the index."""
    given = query.get("queryVector")
    return None if given is None else check_query_vector(given["float32"], spec.dimension, spec.metric)


def show_hits(hits: Hits, params: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """The hits, with what was asked for."""
    shown: list[dict[str, Any]]
    if hits.scores is None and params.get("returnDistance"):
        pairs = zip(hits.keys, hits.distances.tolist(), strict=True)
        shown = [{"key": key, "distance": distance} for key, distance in pairs]
    else:
        shown = [{"key": key} for key in hits.keys]
    if hits.scores is not None:
        _add_scores(shown, hits.scores, params)
    if hits.metadata is not None:
        for vector, metadata in zip(shown, hits.metadata, strict=True):
            vector["metadata"] = orjson.Fragment(metadata)
    if hits.vectors is not None:
        for vector, components in zip(shown, hits.vectors, strict=True):
            vector["data"] = {"float32": components}
    return shown


def _add_scores(shown: list[dict[str, Any]], scores: Sequence[Scores], params: dict[str, Any]) -> None:
    """Scores, and the distance of those hits that have one: not of a vector that only texts led to."""
    for vector, score in zip(shown, scores, strict=True):
        if params.get("returnDistance") and score.distance is not None:
            vector["distance"] = score.distance
        if params.get("returnScores"):
            vector["scores"] = shown_scores(score)
