"""Stored partitioner states, taken apart with every bound checked and no byte copied."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from quiver.ann.space import TAME
from quiver.model.errors import CorruptObjectError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix


_LARGEST = 2 * TAME[1]
"""No mean of tame rows has a larger component."""


class StateReader:
    """Reads little-endian arrays one after the other. Every method raises CorruptObjectError."""

    def __init__(self, state: memoryview, owner: str) -> None:
        self._bytes = np.frombuffer(state, np.uint8)
        self._owner = owner
        self._at = 0

    def refusal(self, why: str) -> CorruptObjectError:
        """What to raise when the state says something impossible."""
        return CorruptObjectError(f"{self._owner} partitioner: {why}")

    def floats(self, *shape: int, limit: float = _LARGEST) -> Float32Matrix:
        """Read-only float32 whose magnitudes are at most `limit`."""
        taken: Float32Matrix = self._take(np.dtype("<f4"), shape)
        with np.errstate(invalid="ignore"):
            bounded = not taken.size or (taken.min() >= -limit and taken.max() <= limit)  # false for NaN
        if not bounded:
            raise self.refusal("numbers out of range")
        return taken

    def integers(self, *shape: int) -> NDArray[np.int32]:
        """Read-only int32."""
        taken: NDArray[np.int32] = self._take(np.dtype("<i4"), shape)
        return taken

    def end(self) -> None:
        """Nothing may follow."""
        if self._at != len(self._bytes):
            raise self.refusal("the state is longer than its content")

    def _take(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        size = math.prod(shape) * dtype.itemsize
        if min(shape) < 0 or size > len(self._bytes) - self._at:
            raise self.refusal("the state is shorter than its content")
        taken = self._bytes[self._at : self._at + size].view(dtype).reshape(shape)
        self._at += size
        taken.flags.writeable = False
        return np.require(taken, requirements="A")  # where the state lies unaligned, and only there, a copy
