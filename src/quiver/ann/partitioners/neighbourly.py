"""An order of centroids in which neighbours in space stand near each other.

Partitions are stored in it, so that those a query probes often lie side by side and fewer requests fetch them from
a remote store. Centroids are halved along their widest direction, and the halves again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix

_TURNS = 4


def neighbourly(points: Float32Matrix) -> NDArray[np.int64]:
    """Numbers of the points, shape (len(points),), in that order."""
    done: list[NDArray[np.int64]] = []
    waiting = [(np.arange(len(points)), np.zeros(points.shape[1]))]
    while waiting:
        some, outer = waiting.pop()
        if len(some) < 2:
            done.append(some)
            continue
        centred = points[some].astype(np.float64) - points[some].mean(axis=0, dtype=np.float64)
        direction = _widest(centred)
        if direction @ outer < 0:
            direction = -direction  # the same way as the whole it is a half of
        along = np.argsort(centred @ direction, kind="stable")
        middle = len(some) // 2
        waiting += [(some[along[middle:]], direction), (some[along[:middle]], direction)]
    return np.concatenate(done)


def _widest(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """About the direction in which points around the origin lie widest, by power iteration."""
    direction: NDArray[np.float64] = centred[np.argmax(np.einsum("ij,ij->i", centred, centred))]
    for _ in range(_TURNS if len(centred) > 2 else 0):  # two lie on a line
        length = np.linalg.norm(direction)
        if not length:
            break
        direction = centred.T @ (centred @ (direction / length))
    return direction
