"""The true neighbours of queries, by brute force in float32, on every core."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from quiver.model.threads import on_every_core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix

_BLOCK_BYTES = 1 << 20  # of rows: what is computed from so many stays near the processor
_GROUPS = 2  # of queries, which are looked after at once


class Neighbours(NamedTuple):
    """The true neighbours of each query, the nearest first.

    Attributes:
        rows: row numbers, int64 of shape (queries, n).
        squares: squared distances, float32 of the same shape.
    """

    rows: NDArray[np.int64]
    squares: NDArray[np.float32]


def find_neighbours(
    queries: Float32Matrix,
    own: NDArray[np.int64],
    parts: Iterable[tuple[int, Float32Matrix]],
    count: int,
    place: Callable[[int, Float32Matrix], Float32Matrix] = lambda _, rows: rows,
) -> Neighbours:
    """The `count` nearest rows of each query, by brute force in float32, without the query's own row.

    Args:
        own: the row number of each query.
        parts: all rows, as (first row, rows).
        place: gives rows in search space, from the number of the first of them on; called by several threads.
    """
    some = np.array_split(np.arange(len(queries)), min(_GROUPS, len(queries)))
    none = [Neighbours(np.zeros((len(each), 0), np.int64), np.zeros((len(each), 0), np.float32)) for each in some]
    found = list(zip(some, none, strict=True))
    for first, part in parts:
        squares = _squares_from(queries, first, part, place)
        inside = np.flatnonzero((own >= first) & (own < first + len(part)))
        squares[inside, own[inside] - first] = np.inf
        found = list(on_every_core(partial(_look, squares, first, count), found))
    ranked = on_every_core(_ranked, [near for _, near in found])
    rows, kept = (np.concatenate(each) for each in zip(*ranked, strict=True))
    return Neighbours(rows, np.maximum(kept + np.einsum("ij,ij->i", queries, queries)[:, None], 0))


def _squares_from(
    queries: Float32Matrix, first: int, part: Float32Matrix, place: Callable[[int, Float32Matrix], Float32Matrix]
) -> Float32Matrix:
    """Squared distances, shape (queries, len(part)), less the squares of the queries."""
    found = np.empty((len(queries), len(part)), np.float32)
    step = max(1, _BLOCK_BYTES // (part.itemsize * part.shape[1]))
    doubled = -2 * queries

    def of_block(start: int) -> None:
        rows = place(first + start, part[start : start + step])
        products = doubled @ rows.T
        np.add(products, np.einsum("ij,ij->i", rows, rows), out=found[:, start : start + len(rows)])

    for _ in on_every_core(of_block, range(0, len(part), step)):
        pass
    return found


def _ranked(near: Neighbours) -> Neighbours:
    order = np.argsort(near.squares, axis=1, kind="stable")
    return Neighbours(np.take_along_axis(near.rows, order, 1), np.take_along_axis(near.squares, order, 1))


def _look(
    squares: Float32Matrix, first: int, count: int, known: tuple[NDArray[np.int64], Neighbours]
) -> tuple[NDArray[np.int64], Neighbours]:
    """Some of the queries, by number, and their nearest among what was `known` and one more part."""
    some, near = known
    return some, _nearer(near, first, squares[some[0] : some[-1] + 1], count)


def _nearer(known: Neighbours, first: int, squares: Float32Matrix, count: int) -> Neighbours:
    """The `count` nearest of those known and of the rows from number `first` on, in no order."""
    if not known.squares.shape[1]:
        kept = [_least(of_query, count) for of_query in squares]
        return Neighbours(np.stack(kept) + first, np.take_along_axis(squares, np.stack(kept), axis=1))
    rows, found = [], []
    bounds = (
        known.squares.max(axis=1, initial=-np.inf)
        if known.squares.shape[1] == count
        else np.full(len(squares), np.inf)
    )
    for number, bound in enumerate(bounds):
        near = np.flatnonzero(squares[number] <= bound)
        both = np.concatenate([known.squares[number], squares[number, near]])
        nearest = _least(both, count)
        found.append(both[nearest])
        rows.append(np.concatenate([known.rows[number], near + first])[nearest])
    return Neighbours(np.stack(rows), np.stack(found))


def _least(values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Where the `count` least are, in no order; all when there are no more."""
    if len(values) <= count:
        return np.arange(len(values))
    return np.argpartition(values, count - 1)[:count].copy()  # else all of them stay in memory
