"""Text search over a dictionary of rows: BM25 and rank fusion as they are defined, one row at a time."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from quiver.engine.engine import FUSED_LISTS, Scores
from quiver.text.analysis import analyzer
from quiver.text.documents import field_terms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quiver.engine.engine import TextQuery

K1, B, RANK = 1.2, 0.75, 60


def bm25(
    query: TextQuery, documents: Mapping[str, Mapping[str, Any]], language: str = "standard"
) -> dict[str, float]:
    """Scores of the rows that have any of the words, by vector key; `documents` are metadata of all live rows."""
    words = analyzer(language)
    rows = {key: field_terms(metadata, query.key, words) for key, metadata in documents.items()}
    rows = {key: terms for key, terms in rows.items() if terms}
    average = sum(map(len, rows.values())) / max(len(rows), 1)
    scores: dict[str, float] = {}
    for term, times in Counter(words.terms(query.text)).items():
        holders = {key: terms.count(term) for key, terms in rows.items() if term in terms}
        idf = math.log(1 + (len(rows) - len(holders) + 0.5) / (len(holders) + 0.5))
        for key, count in holders.items():
            norm = K1 * (1 - B + B * len(rows[key]) / average)
            scores[key] = scores.get(key, 0.0) + times * idf * count / (count + norm)
    return scores


def ranking(
    texts: Mapping[TextQuery, str],
    nearest: Sequence[tuple[float, str]] | None,
    documents: Mapping[str, Mapping[str, Any]],
    eligible: set[str],
    total: int,
) -> list[tuple[float, str, Scores]]:
    """Every hit as (place, key, scores), best first.

    Args:
        texts: what to look for, and the language of each.
        nearest: (distance, key) of all eligible rows, ascending; None for a search by text alone.
        documents: metadata of all live rows.
        eligible: keys that the filter lets through.
        total: hits of all pages together.
    """
    legs = {
        text.key: {key: score for key, score in bm25(text, documents, language).items() if key in eligible}
        for text, language in texts.items()
    }
    if nearest is None:
        found = {key: Scores(None, _matched(legs, key), None) for key in set().union(*legs.values())}
        return sorted((score.place, key, score) for key, score in found.items())
    length = max(total, FUSED_LISTS)
    lists = {key: sorted(leg, key=lambda k: (-leg[k], k))[:length] for key, leg in legs.items()}
    distances = {key: distance for distance, key in nearest[:length]}
    fused: Counter[str] = Counter()
    for ranked in (list(distances), *lists.values()):
        for rank, key in enumerate(ranked, 1):
            fused[key] += 1 / (RANK + rank)
    cut = {name: {key: legs[name][key] for key in ranked} for name, ranked in lists.items()}
    return sorted((-f, k, Scores(f, _matched(cut, k), distances.get(k))) for k, f in fused.items())


def _matched(legs: Mapping[str, Mapping[str, float]], key: str) -> tuple[tuple[str, float], ...]:
    return tuple((name, leg[key]) for name, leg in legs.items() if key in leg)
