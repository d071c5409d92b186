"""The rows with the greatest sum of scores over one text or several, exactly, without scoring all of them.

Of every source the best rows for each text are taken. No other row has a greater sum than the last of them have
together. When too few are above that, it is looked deeper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from quiver.storage.cache.view import Missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from quiver.engine.engine import Cursor, SourceWork
    from quiver.engine.native.candidates import Source
    from quiver.engine.native.text_leg import TextLeg

_DEEPER = 4


class BestRow(NamedTuple):
    """A row of the ranking: minus the sum of its scores, its key, these scores, and where it is."""

    place: float
    key: str
    scores: tuple[float, ...]
    source: Source
    row: int


class Best(NamedTuple):
    """Rows ascending by (place, key), and what it took to find them."""

    rows: list[BestRow]
    work: list[SourceWork]


class _Scored(NamedTuple):
    """Rows of a source, ascending, with their scores for each text, shape (texts, n), and the sums of these.

    No other row has a greater sum than `bound`; 0 when no other row has any of the words.
    """

    source: Source
    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    sums: NDArray[np.float64]
    bound: float


def find_best(legs: Sequence[TextLeg], limit: int, depth: int, after: Cursor | None, *, metadata: bool) -> Best:
    """The `limit` best rows past the cursor.

    Args:
        legs: one for each text.
        depth: how many rows of each source are looked at, to begin with.
        metadata: whether the metadata of these rows will be asked for.

    Raises MissingBytesError, DataError.
    """
    greatest = np.inf if after is None else -after.place
    while True:
        scored = _score_all(legs, depth)
        worst = _worst(scored, limit, greatest, alone=len(legs) == 1)
        if worst is not None:
            break
        depth *= _DEEPER
    found = _keyed(scored, worst, greatest, metadata=metadata)
    found.sort(key=lambda row: row[:2])
    if after is not None:
        found = [row for row in found if row[:2] > after[:2]]
    work = [leg.work(number, len(one.rows)) for number, one in enumerate(scored) for leg in legs]
    return Best(found[:limit], work)


def _score_all(legs: Sequence[TextLeg], depth: int) -> list[_Scored]:
    scored, missing = [], Missing()
    for number in range(len(legs[0].sources)):
        with missing:
            scored.append(_score(legs, number, depth))
    missing.raise_any()
    return scored


def _score(legs: Sequence[TextLeg], number: int, depth: int) -> _Scored:
    hits, missing = [], Missing()
    for leg in legs:
        with missing:
            hits.append(leg.search(number, depth))
    missing.raise_any()
    bound = 0.0
    for one in hits:
        bound += float(one.scores[-1]) if len(one.rows) >= depth else 0.0
    if len(hits) == 1:
        order = np.argsort(hits[0].rows)
        rows, scores = hits[0].rows[order], hits[0].scores[order][None]
    else:
        rows = np.unique(np.concatenate([one.rows for one in hits]))
        scores = np.stack([leg.score(number, rows) for leg in legs])
    sums = np.zeros(len(rows))
    for each in scores:  # in the order of the texts
        sums = sums + each
    return _Scored(legs[0].sources[number].rows, rows, scores, sums, bound)


def _worst(scored: Sequence[_Scored], limit: int, greatest: float, *, alone: bool) -> float | None:
    """The least sum that a row among the best past the cursor may have; None when that cannot be told yet.

    Rows that were not looked at stay strictly below the bound of a single text, but rounding may bring the sum of
    several up to it.
    """
    sums = np.concatenate([np.zeros(0), *(one.sums for one in scored)])
    past = sums[sums < greatest]
    bound = max((one.bound for one in scored), default=0.0)
    sure = np.count_nonzero(past >= bound if alone else past > bound)
    if bound > 0 and sure < limit:
        return None
    return float(-np.partition(-past, limit - 1)[limit - 1]) if len(past) > limit else 0.0


def _keyed(scored: Sequence[_Scored], worst: float, greatest: float, *, metadata: bool) -> list[BestRow]:
    """All rows with sums between these two."""
    found: list[BestRow] = []
    missing = Missing()
    for one in scored:
        chosen = np.flatnonzero((one.sums >= worst) & (one.sums <= greatest))
        rows = one.rows[chosen].tolist()
        keys: list[str] = []
        with missing:
            keys = one.source.keys_of(rows)
        if metadata and missing.any:  # so that they come together
            with missing:
                one.source.metadata_of(rows)
        places, scores = (-one.sums[chosen]).tolist(), zip(*one.scores[:, chosen].tolist(), strict=True)
        found += [
            BestRow(place, key, theirs, one.source, row)
            for place, key, theirs, row in zip(places, keys, scores, rows, strict=False)
        ]
    missing.raise_any()
    return found
