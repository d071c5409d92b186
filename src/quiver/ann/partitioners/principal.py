"""The directions along which rows vary most: principal components, by subspace iteration.

Halko, Martinsson and Tropp, Finding structure with randomness (2011), algorithm 4.4. The cost is linear in the
dimension, and directions of nearly equal variance may come out mixed, which does no harm here.
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


def principal_directions(
    rows: Float32Matrix, count: int, seed: int, apart_from: Float32Matrix | None = None
) -> Float32Matrix:
    """Orthonormal directions, the most telling first, shape (min(count, dimension), dimension).

    Args:
        apart_from: orthonormal directions that the new ones are orthogonal to, fewer than the dimension.
    """
    rows = pick(rows, _ROWS, seed)
    offsets = rows - rows.mean(axis=0, dtype=np.float64)
    scale = max(offsets.max(), -offsets.min())
    # Products of float32 are twice as fast, and bases stay orthonormal as QR makes them, in float64.
    centred = np.divide(offsets, scale if scale > 0 else 1.0, out=np.empty_like(rows), casting="same_kind")
    known = np.zeros((0, rows.shape[1])) if apart_from is None else apart_from.astype(np.float64)
    width = min(count, rows.shape[1] - len(known))
    basis = np.random.default_rng(seed).normal(size=(rows.shape[1], width))
    for _ in range(_ITERATIONS):
        # A touch of the old basis keeps directions without variance in it.
        basis = _orthonormal(centred.T @ (centred @ basis.astype(np.float32)) + 1e-9 * basis, known)
    spread = centred @ basis.astype(np.float32)
    _, turns = np.linalg.eigh((spread.T @ spread).astype(np.float64))
    return np.ascontiguousarray((basis @ turns[:, ::-1]).T).astype("<f4")


def _orthonormal(columns: NDArray[np.float64], known: NDArray[np.float64]) -> NDArray[np.float64]:
    """An orthonormal basis of what the columns span beside the known directions."""
    for _ in range(2 if len(known) else 1):  # once more for what rounding left of the known directions
        columns = np.linalg.qr(columns - known.T @ (known @ columns))[0]
    return columns
