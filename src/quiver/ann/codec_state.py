"""The stored state of a codec: the dimension it was trained for, then its numbers. Untrusted when read."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from quiver.model.errors import CorruptObjectError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HEAD = struct.Struct("<I")
_LARGEST = 1e10  # rows have norms below 1e9 (space.TAME): no number learned from them is larger


def pack(dimension: int, body: bytes) -> bytes:
    """The state of a codec."""
    return _HEAD.pack(dimension) + body


def unpack(state: memoryview, dimension: int, size: int, what: str) -> memoryview:
    """The body, `size` bytes long. Raises CorruptObjectError."""
    if len(state) != _HEAD.size + size or _HEAD.unpack_from(state) != (dimension,):
        raise CorruptObjectError(f"{what}: {len(state)} bytes of state do not fit dimension {dimension}")
    return state[_HEAD.size :]


def unpack_floats(state: memoryview, dimension: int, count: int, what: str) -> NDArray[np.float32]:
    """A body of float32 numbers of ordinary size, shape (count,). Raises CorruptObjectError."""
    numbers = np.frombuffer(unpack(state, dimension, 4 * count, what), "<f4").astype(np.float32)
    if not (np.abs(numbers) < _LARGEST).all():
        raise CorruptObjectError(f"{what}: a number of its state is out of range")
    return numbers
