"""Text and hybrid search over a snapshot: rows ranked by the sum of BM25 scores, or by reciprocal rank fusion."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from quiver.engine.engine import FUSED_LISTS, Hits, Scores
from quiver.engine.native.searcher import Nearest, details_of, find_nearest, search
from quiver.engine.native.text_leg import find_field, open_legs
from quiver.engine.native.text_ranking import find_best
from quiver.storage.cache.view import Missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from quiver.engine.engine import Query, SourceWork
    from quiver.engine.native.candidates import Source
    from quiver.engine.native.snapshot import Snapshot
    from quiver.engine.native.text_leg import TextLeg
    from quiver.engine.native.text_ranking import Best
    from quiver.model.types import IndexSpec

_RANK_OFFSET = 60


class _Hit(NamedTuple):
    key: str
    scores: Scores
    source: Source
    row: int


def answer(snapshot: Snapshot, spec: IndexSpec, query: Query) -> Hits:
    """Answer any query at the snapshot's commit. Raises as `search_texts`."""
    return search_texts(snapshot, spec, query) if query.texts else search(snapshot, spec, query)


def answer_all(snapshot: Snapshot, spec: IndexSpec, queries: Sequence[Query]) -> list[Hits]:
    """Answer several. Raises as `search_texts`, with what all of them lack."""
    found, missing = [], Missing()
    for query in queries:
        with missing:
            found.append(answer(snapshot, spec, query))
    missing.raise_any()
    return found


def search_texts(snapshot: Snapshot, spec: IndexSpec, query: Query) -> Hits:
    """Answer a query with texts at the snapshot's commit. CPU and page-ins only.

    Raises UnknownTextFieldError, TextFieldBuildingError, MissingBytesError, DataError.
    """
    fields = [find_field(snapshot, text.key) for text in query.texts]
    legs: list[TextLeg] = []
    missing, nearest = Missing(), Nearest(np.zeros(0, np.float32), [], [], [], [])
    with missing:
        legs = open_legs(snapshot, spec, query, fields)
    with missing:
        if query.vector is not None:
            wanted = msgspec.structs.replace(query, limit=_list_length(query), after=None, total=0)
            nearest = find_nearest(snapshot, spec, wanted, query.vector)
    missing.raise_any()
    hits, work = _by_sum(query, legs) if query.vector is None else _fused(query, legs, nearest)
    distances = [np.nan if hit.scores.distance is None else hit.scores.distance for hit in hits]
    metadata, vectors = details_of([(hit.source, hit.row) for hit in hits], spec, query)
    return Hits(
        [hit.key for hit in hits],
        np.array(distances, np.float32),
        metadata,
        snapshot.commit,
        [*nearest.work, *work],
        [hit.scores for hit in hits],
        vectors,
    )


def _by_sum(query: Query, legs: Sequence[TextLeg]) -> tuple[list[_Hit], list[SourceWork]]:
    best = find_best(legs, query.limit, query.depth, query.after, metadata=query.metadata)
    return [
        _Hit(one.key, Scores(None, _matched(legs, one.scores), None), one.source, one.row) for one in best.rows
    ], best.work


def _matched(legs: Sequence[TextLeg], scores: Iterable[float]) -> tuple[tuple[str, float], ...]:
    return tuple((leg.key, score) for leg, score in zip(legs, scores, strict=True) if score > 0)


# ---------------------------------------------------------------- hybrid


def _list_length(query: Query) -> int:
    return max(query.depth, FUSED_LISTS)


def _fused(query: Query, legs: Sequence[TextLeg], nearest: Nearest) -> tuple[list[_Hit], list[SourceWork]]:
    lists: list[Best] = []
    length, missing = _list_length(query), Missing()
    for leg in legs:
        with missing:
            lists.append(find_best([leg], length, length, None, metadata=query.metadata))
    missing.raise_any()
    fused: dict[str, float] = {}
    bm25: dict[str, list[tuple[str, float]]] = {}
    places: dict[str, tuple[Source, int]] = {}
    distances = dict(zip(nearest.keys, nearest.distances.tolist(), strict=True))
    for rank, (key, place) in enumerate(zip(nearest.keys, nearest.places, strict=True), 1):
        fused[key] = 1 / (_RANK_OFFSET + rank)
        places[key] = place
    for leg, best in zip(legs, lists, strict=True):
        for rank, one in enumerate(best.rows, 1):
            fused[one.key] = fused.get(one.key, 0.0) + 1 / (_RANK_OFFSET + rank)
            bm25.setdefault(one.key, []).append((leg.key, one.scores[0]))
            places[one.key] = one.source, one.row
    ranked = sorted((-score, key) for key, score in fused.items())
    if query.after is not None:
        ranked = [entry for entry in ranked if entry > query.after[:2]]
    return [
        _Hit(key, Scores(-place, tuple(bm25.get(key, ())), distances.get(key)), *places[key])
        for place, key in ranked[: query.limit]
    ], [work for best in lists for work in best.work]
