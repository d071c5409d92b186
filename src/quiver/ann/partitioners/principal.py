"""The directions along which rows vary most: principal components, by subspace iteration.

Halko, Martinsson and Tropp, Finding structure with randomness (2011), algorithm 4.4. The cost is linear in the
dimension from about a thousand on, and directions of nearly equal variance may come out mixed, which does no harm
here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quiver.ann.partitioners.lloyd import pick

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix

_ROWS = 8192
_ITERATIONS = 3
_NARROW = 1024  # components: up to so many, products of all pairs cost less than going over the rows each time


def principal_directions(
    rows: Float32Matrix, count: int, seed: int, apart_from: Float32Matrix | None = None
) -> Float32Matrix:
    """Orthonormal directions, the most telling first, shape (min(count, dimension), dimension).

    Args:
        apart_from: orthonormal directions that the new ones are orthogonal to, fewer than the dimension.
    """
    rows = pick(rows, _ROWS, seed)
    # Products of float32 are twice as fast, and bases stay orthonormal as QR makes them, in float64.
    middle = rows.mean(axis=0, dtype=np.float64)
    centred = np.subtract(rows, middle, out=np.empty_like(rows), casting="same_kind")
    scale = max(centred.max(), -centred.min())
    if scale > 0:
        centred /= scale
    known = np.zeros((0, rows.shape[1])) if apart_from is None else apart_from.astype(np.float64)
    width = min(count, rows.shape[1] - len(known))
    basis = np.random.default_rng(seed).normal(size=(rows.shape[1], width))
    products = centred.T @ centred if rows.shape[1] <= _NARROW else None

    def spread(basis: NDArray[np.float64]) -> Float32Matrix:
        """The covariances of the rows, times their number, by the basis; shape (dimension, width)."""
        narrow = basis.astype(np.float32)
        found: Float32Matrix = centred.T @ (centred @ narrow) if products is None else products @ narrow
        return found

    for _ in range(_ITERATIONS):
        # A touch of the old basis keeps directions without variance in it.
        basis = _orthonormal(spread(basis) + 1e-9 * basis, known)
    _, turns = np.linalg.eigh(basis.T @ spread(basis))
    return np.ascontiguousarray((basis @ turns[:, ::-1]).T).astype("<f4")


def _orthonormal(columns: NDArray[np.float64], known: NDArray[np.float64]) -> NDArray[np.float64]:
    """An orthonormal basis of what the columns span beside the known directions."""
    for _ in range(2 if len(known) else 1):  # once more for what rounding left of the known directions
        columns = np.linalg.qr(columns - known.T @ (known @ columns))[0]
    return columns
