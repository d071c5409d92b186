"""The codec contract: how a row is encoded for the scan, and how codes are scored against a query.

Scores order rows as distances do: the distance itself under the cosine metric, its square under the euclidean.
A codec is immutable once trained. Its state is stored in the segment index and is untrusted when read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, Self

from quiver.model.types import DistanceMetric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix


class Scores(NamedTuple):
    """Estimated scores of n rows, float32.

    Attributes:
        estimate: shape (n,).
        margin: a bound of |estimate - score| for each row, shape (n,): proven when the codec is `exact`,
            otherwise one that holds for all but a small share of rows, which the codec's docstring states.
    """

    estimate: NDArray[np.float32]
    margin: NDArray[np.float32]


class Scorer(Protocol):
    """Scores codes of one partition against one query."""

    def __call__(self, codes: NDArray[np.uint8], norms: NDArray[np.float32]) -> Scores:
        """Codes of shape (n, code_size) and the euclidean norms of their rows, shape (n,)."""


class Codec(ABC):
    """Row <-> code."""

    name: ClassVar[str]
    code_size: int
    """Bytes per row."""
    codes_are_rows: ClassVar[bool] = False
    """The code is the row's own float32 bytes: nothing is stored beside the rows."""
    exact: ClassVar[bool] = False
    """The margins are proven."""

    @classmethod
    @abstractmethod
    def train(cls, rows: Float32Matrix, origins: Float32Matrix, seed: int) -> Self:
        """Learn from sample rows and the origin of each row's partition (same shape)."""

    @abstractmethod
    def encode_rows(self, rows: Float32Matrix, origin: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Codes of shape (rows, code_size)."""

    @abstractmethod
    def scorer(self, query: NDArray[np.float32], origin: NDArray[np.float32], metric: DistanceMetric) -> Scorer:
        """A function that scores codes of the partition with this origin."""

    @abstractmethod
    def encode(self) -> bytes:
        """The state to store."""

    @classmethod
    @abstractmethod
    def decode(cls, state: bytes, dimension: int) -> Self:
        """Raises CorruptObjectError when the state does not fit."""


def score_of(distance: float, metric: DistanceMetric) -> float:
    """The score of a row at this distance."""
    return distance if metric is DistanceMetric.COSINE else distance * distance
