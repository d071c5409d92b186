"""An order of centroids in which neighbours in space stand near each other.

Partitions are stored in it, so that those a query probes often lie side by side and fewer requests fetch them from
a remote store. It is a chain: after each centroid comes the nearest of those that are left. It walks through
one region after another, and collects at its end what it passed by, centroids far from all others: queries between
clusters probe those. Halves of halves also keep near neighbours together, but scatter what such queries probe all
over the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix

_TURNS = 4
_CHAINED = 4096  # points at most: a chain costs the square of them


def neighbourly(points: Float32Matrix) -> NDArray[np.int64]:
    """Numbers of the points, shape (len(points),), in that order.

    Very many are halved along their widest direction, and the halves again, and chains go through the parts.
    """
    done: list[NDArray[np.int64]] = []
    waiting = [(np.arange(len(points)), np.zeros(points.shape[1]))]
    while waiting:
        some, outer = waiting.pop()
        if len(some) <= _CHAINED:
            done.append(some[_chain(points[some], points[done[-1][-1]] if done else None)])
            continue
        centred = points[some].astype(np.float64) - points[some].mean(axis=0, dtype=np.float64)
        direction = _widest(centred)
        if direction @ outer < 0:
            direction = -direction  # the same way as the whole it is a half of
        along = np.argsort(centred @ direction, kind="stable")
        middle = len(some) // 2
        waiting += [(some[along[middle:]], direction), (some[along[:middle]], direction)]
    return np.concatenate(done)


def _chain(points: Float32Matrix, before: NDArray[np.float32] | None) -> NDArray[np.int64]:
    """After each point the nearest of those that are left; from the one nearest to `before` on, or else from
    the one farthest from the middle."""
    middle = points.mean(axis=0)
    rest = points - middle
    squares = np.einsum("ij,ij->i", rest, rest)
    left, order = np.arange(len(points)), np.empty(len(points), np.int64)
    here = squares.argmax() if before is None else (squares - 2 * (rest @ (before - middle))).argmin()
    for last in range(len(points) - 1, -1, -1):
        order[len(points) - 1 - last] = left[here]
        point = rest[here].copy()
        for kept in (rest, squares, left):
            kept[here] = kept[last]  # what is left stays together
        if last:
            here = (squares[:last] - 2 * (rest[:last] @ point)).argmin()
    return order


def _widest(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """About the direction in which points around the origin lie widest, by power iteration."""
    direction: NDArray[np.float64] = centred[np.argmax(np.einsum("ij,ij->i", centred, centred))]
    for _ in range(_TURNS if len(centred) > 2 else 0):  # two lie on a line
        length = np.linalg.norm(direction)
        if not length:
            break
        direction = centred.T @ (centred @ (direction / length))
    return direction
