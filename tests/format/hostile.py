"""Bytes that were not written by Quiver: random ones, and valid ones with damage."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from quiver.model.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RANDOM_BYTES = st.binary(max_size=400)


def survives(read: Callable[[bytes], object], data: bytes) -> bool:
    """Read; a DataError is the only way to fail. Whether it was read."""
    with suppress(DataError):
        read(data)
        return True
    return False


def damaged(valid: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """`valid` with a bit flipped, a byte replaced, a piece cut out, doubled, or overwritten with large numbers."""
    chance = random.Random(seed)
    for _ in range(count):
        data = bytearray(valid)
        position = chance.randrange(len(data))
        length = chance.randrange(1, 17)
        match chance.randrange(6):
            case 0 | 1:
                data[position] ^= 1 << chance.randrange(8)
            case 2:
                data[position] = chance.randrange(256)
            case 3:
                del data[position : position + length]
            case 4:
                data[position:position] = data[position : position + length]
            case 5:
                data[position : position + length] = b"\xff" * len(data[position : position + length])
        yield bytes(data)


def truncations(valid: bytes) -> Iterator[bytes]:
    """Every proper prefix of short bytes, and a thousand of long ones."""
    step = max(1, len(valid) // 1000)
    return (valid[:length] for length in range(0, len(valid), step))
