"""Offsets of rows from the origins of their partitions, a block of rows at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix

_BLOCK = 128  # rows: what is computed from them stays in the processor's cache


def residual_blocks(
    rows: Float32Matrix, partitions: NDArray[np.int64], origins: Float32Matrix
) -> Iterator[tuple[slice, Float32Matrix]]:
    """Slices of the rows, and their offsets; the arguments are those of `Codec.encode_rows`."""
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(rows)))
        yield block, rows[block] - origins[partitions[block]]
