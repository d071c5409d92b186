"""Random rotations: orthogonal maps that follow from a seed alone and spread every row over all coordinates.

A step multiplies the coordinates by seeded signs, lays them out as an a x b grid and multiplies the grid from both
sides by Hartley matrices, which are orthogonal in every size. Three steps mix as well as a dense random rotation
and cost far less. The largest suitable grid may be smaller than the dimension: steps then take turns with its
place, first at the head of the row, then at its tail.

The signs are raw output of PCG64, which NumPy keeps stable, so that stored codes keep their meaning.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from quiver.ann import _kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix

_STEPS = 3
_LANES = 8  # a multiple of which the kernel wants as columns


class Rotation:
    """An orthogonal map of rows of some dimension. May be used by several threads at once."""

    def __init__(self, dimension: int, seed: int) -> None:
        raw = np.random.PCG64(seed).random_raw(_STEPS * dimension)
        signs = np.where(raw >> np.uint64(63), np.float32(1), np.float32(-1))
        self._signs: Float32Matrix = signs.astype(np.float32).reshape(_STEPS, dimension)
        height, width = _grid(dimension)
        self._left = _hartley(height)
        self._right = np.pad(_hartley(width), [(0, 0), (0, -width % _LANES)])

    def rows(self, rows: Float32Matrix) -> Float32Matrix:
        """Rotated rows, shape (n, dimension)."""
        turned: Float32Matrix = np.array(rows, np.float32, order="C")
        _kernels.rotate_rows(self._signs, self._left, self._right, turned)
        return turned

    def row(self, row: NDArray[np.float32]) -> NDArray[np.float32]:
        """One rotated row, shape (dimension,)."""
        turned: NDArray[np.float32] = np.array(row, np.float32, order="C")
        _kernels.rotate(self._signs, self._left, self._right, turned)
        return turned


def _grid(dimension: int) -> tuple[int, int]:
    """The sides of the largest grid within a dimension that is not much longer than wide."""
    root = math.isqrt(dimension)
    return max(((a, dimension // a) for a in range(root, root // 2, -1)), key=math.prod)


def _hartley(size: int) -> Float32Matrix:
    """The symmetric orthogonal matrix of cos + sin, shape (size, size)."""
    turns = np.outer(np.arange(size), np.arange(size)) % size * (2 * np.pi / size)
    matrix: Float32Matrix = ((np.cos(turns) + np.sin(turns)) / np.sqrt(size)).astype(np.float32)
    return matrix
