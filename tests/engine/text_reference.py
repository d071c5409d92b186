"""The reference of text and hybrid search: BM25 and rank fusion written down plainly, over rows in a dict."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import orjson

from quiver.engine.engine import Scores
from quiver.model.filter import matches
from quiver.text.analysis import analyzer
from quiver.text.documents import field_terms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quiver.engine.engine import Cursor, TextQuery
    from quiver.model.filter import Filter
    from quiver.model.types import TextField


class Ranked(NamedTuple):
    """A hit: what the ranking ascends by, its key and its scores."""

    place: float
    key: str
    scores: Scores


def bm25(documents: Mapping[str, bytes], field: TextField, text: str) -> dict[str, float]:
    """The scores above 0 by key; `documents` are the metadata of all live rows."""
    analysed = {
        key: field_terms(orjson.loads(document), field.key, analyzer(field.language))
        for key, document in documents.items()
    }
    held = {key: terms for key, terms in analysed.items() if terms}
    words = analyzer(field.language).terms(text)
    if not held:
        return {}
    average = sum(len(terms) for terms in held.values()) / len(held)
    scores: dict[str, float] = {}
    for word in dict.fromkeys(words):
        containing = sum(word in terms for terms in held.values())
        weight = words.count(word) * math.log(1 + (len(held) - containing + 0.5) / (containing + 0.5))
        for key, terms in held.items():
            times = terms.count(word)
            if times:
                norm = 1.2 * (1 - 0.75 + 0.75 * (len(terms) / average))
                scores[key] = scores.get(key, 0.0) + weight * (times / (times + norm))
    return scores


def _lists(
    documents: Mapping[str, bytes],
    fields: Sequence[TextField],
    texts: Sequence[TextQuery],
    condition: Filter | None,
) -> list[list[tuple[float, str]]]:
    """For each text every matching row, ascending by (minus score, key)."""
    found = []
    for text in texts:
        (field,) = (field for field in fields if field.key == text.key)
        scores = bm25(documents, field, text.text)
        allowed = (key for key in scores if condition is None or matches(condition, orjson.loads(documents[key])))
        found.append(sorted((-scores[key], key) for key in allowed))
    return found


def by_sum(
    documents: Mapping[str, bytes],
    fields: Sequence[TextField],
    texts: Sequence[TextQuery],
    condition: Filter | None = None,
    after: Cursor | None = None,
) -> list[Ranked]:
    """All hits of a query without a vector."""
    parts: dict[str, list[tuple[str, float]]] = {}
    for text, ranked in zip(texts, _lists(documents, fields, texts, condition), strict=True):
        for place, key in ranked:
            parts.setdefault(key, []).append((text.key, -place))
    hits = []
    for key, scores in parts.items():
        total = 0.0
        for _, score in scores:
            total += score
        hits.append(Ranked(-total, key, Scores(None, tuple(scores), None)))
    return _past(hits, after)


def hybrid(
    nearest: Sequence[tuple[float, str]],
    documents: Mapping[str, bytes],
    fields: Sequence[TextField],
    texts: Sequence[TextQuery],
    length: int,
    condition: Filter | None = None,
    after: Cursor | None = None,
) -> list[Ranked]:
    """All hits of a query with a vector; `nearest` are all matching rows by (distance, key)."""
    fused: dict[str, float] = {}
    parts: dict[str, list[tuple[str, float]]] = {}
    distances = {key: distance for distance, key in nearest[:length]}
    for rank, key in enumerate(distances, 1):
        fused[key] = 1 / (60 + rank)
    for text, ranked in zip(texts, _lists(documents, fields, texts, condition), strict=True):
        for rank, (place, key) in enumerate(ranked[:length], 1):
            fused[key] = fused.get(key, 0.0) + 1 / (60 + rank)
            parts.setdefault(key, []).append((text.key, -place))
    hits = [
        Ranked(-score, key, Scores(score, tuple(parts.get(key, ())), distances.get(key)))
        for key, score in fused.items()
    ]
    return _past(hits, after)


def _past(hits: Sequence[Ranked], after: Cursor | None) -> list[Ranked]:
    ordered = sorted(hits, key=lambda hit: hit[:2])
    return [hit for hit in ordered if after is None or hit[:2] > after[:2]]
