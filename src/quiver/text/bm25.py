"""BM25 as Lucene has it: the numbers that every segment and the tail have to agree on, bit for bit.

A term's part of a row's score is `weight * (tf / (tf + norm))`, where `norm` is
`k1 * (1 - b + b * (length / average length))`, in float64 and in this order of operations. A score is the sum of
the parts in the order of the query's distinct terms, from 0.0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

K1 = 1.2
B = 0.75


def distinct(terms: Iterable[str]) -> dict[str, int]:
    """The distinct terms of a query in the order of their first appearance, and how often each is there."""
    repeats: dict[str, int] = {}
    for term in terms:
        repeats[term] = repeats.get(term, 0) + 1
    return repeats


def weights(documents: int, frequencies: Sequence[int], repeats: Iterable[int]) -> NDArray[np.float64]:
    """What each term of a query weighs: its inverse document frequency, as often as the query has it.

    Args:
        documents: live rows of the index that have the field with at least one term.
        frequencies: of each term, how many of these hold it.
        repeats: how often the query has each term.
    """
    idfs = (math.log(1 + (documents - frequency + 0.5) / (frequency + 0.5)) for frequency in frequencies)
    return np.array([times * idf for times, idf in zip(repeats, idfs, strict=True)], np.float64)


def score(
    weights: Sequence[float] | NDArray[np.float64], frequencies: Sequence[int], length: int, average_length: float
) -> float:
    """The score of one row.

    Args:
        weights: of the query's distinct terms, in their order.
        frequencies: how often the row holds each.
        length: how many terms the row has.
        average_length: that of the live rows that have the field, positive.
    """
    norm = K1 * (1 - B + B * (length / average_length))
    total = 0.0
    for weight, frequency in zip(weights, frequencies, strict=True):
        if frequency:
            total += float(weight) * (frequency / (frequency + norm))
    return total
