"""One partition that holds every row: for segments small enough to be scanned whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from quiver.ann.partitioner import Partitioner
from quiver.ann.partitioners.state import StateReader

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix

_LARGEST = float(np.finfo(np.float32).max)


class Single(Partitioner):
    """The trivial partitioner, for any finite rows; its origin is their mean, its state the origin."""

    name: ClassVar[str] = "single"

    def __init__(self, origins: Float32Matrix) -> None:
        self.origins = origins

    @classmethod
    def train(
        cls,
        rows: Float32Matrix,
        count: int,  # noqa: ARG003 - one partition is never too many
        seed: int,  # noqa: ARG003 - nothing is left to chance
        start: Float32Matrix | None = None,  # noqa: ARG003 - the mean needs none
    ) -> Self:
        mean = rows.mean(axis=0, dtype=np.float64, keepdims=True)
        return cls(np.clip(mean, -_LARGEST, _LARGEST).astype("<f4"))

    def assign(self, rows: Float32Matrix) -> NDArray[np.int32]:
        return np.zeros(len(rows), np.int32)

    def divide(self, partition: int, rows: Float32Matrix, seed: int) -> Self:  # noqa: ARG002 - never done
        """Raises ValueError: a partitioner that divides is another one."""
        raise ValueError("the single partition cannot be divided")

    def side(
        self,
        first: int,  # noqa: ARG002 - never done
        second: int,  # noqa: ARG002
        rows: Float32Matrix,  # noqa: ARG002
    ) -> NDArray[np.bool_]:
        """Raises ValueError, as `divide` does."""
        raise ValueError("the single partition has no sides")

    def rank(self, query: NDArray[np.float32]) -> NDArray[np.float32]:  # noqa: ARG002 - there is one partition
        return np.zeros(1, np.float32)

    def encode(self) -> bytes:
        return self.origins.tobytes()

    @classmethod
    def decode(cls, state: memoryview, dimension: int) -> Self:
        reader = StateReader(state, cls.name)
        origins = reader.floats(1, dimension, limit=_LARGEST)
        reader.end()
        return cls(origins)
