"""One partition that holds every row: for segments small enough to be scanned whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from quiver.ann.partitioner import Partitioner
from quiver.model.errors import CorruptObjectError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix


class Single(Partitioner):
    """The trivial partitioner; its origin is the zero vector."""

    name: ClassVar[str] = "single"
    count = 1

    def __init__(self, dimension: int) -> None:
        self._origin = np.zeros(dimension, np.float32)

    @classmethod
    def train(cls, rows: Float32Matrix, count: int, seed: int) -> Self:  # noqa: ARG003 - nothing to learn
        return cls(rows.shape[1])

    def assign(self, rows: Float32Matrix) -> NDArray[np.int32]:
        return np.zeros(len(rows), np.int32)

    def probe(self, query: NDArray[np.float32], limit: int) -> NDArray[np.int32]:  # noqa: ARG002 - one answer
        return np.zeros(min(limit, 1), np.int32)

    def origin(self, partition: int) -> NDArray[np.float32]:  # noqa: ARG002 - there is one partition
        return self._origin

    def encode(self) -> bytes:
        return b""

    @classmethod
    def decode(cls, state: bytes, dimension: int) -> Self:
        if state:
            raise CorruptObjectError("single partitioner: unexpected state")
        return cls(dimension)
