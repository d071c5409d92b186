"""Records every floor shares: index specifications and batches of vectors."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quiver.model.structure import DEFAULT_CODEC, DEFAULT_PARTITIONER, DEFAULT_RECALL

if TYPE_CHECKING:
    from collections.abc import Sequence

Float32Matrix: TypeAlias = NDArray[np.float32]
"""C-contiguous, shape (rows, dimension)."""

MetadataValue: TypeAlias = str | int | float | bool | list[str] | list[int | float] | list[str | int | float]
Metadata: TypeAlias = dict[str, MetadataValue]


class DistanceMetric(StrEnum):
    """How far two vectors are apart."""

    COSINE = "cosine"
    EUCLIDEAN = "euclidean"


class TextField(NamedTuple):
    """A metadata key that full-text search may ask for, and the language its texts are analysed in."""

    key: str
    language: str = "standard"


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """What is fixed when an index is created.

    Attributes:
        dimension: components of each vector, 1..4096.
        metric: the distance.
        non_filterable: metadata keys a filter may not name.
        partitioner: name of the coarse partitioner of its segments.
        codec: name of the vector codec of its segments.
        recall: the part of the true nearest neighbours that a query should find, 0.5..1; at 1 every segment is
            searched exactly.
        texts: the text fields that it begins with; its log may change them.
    """

    dimension: int
    metric: DistanceMetric
    non_filterable: tuple[str, ...] = ()
    partitioner: str = DEFAULT_PARTITIONER
    codec: str = DEFAULT_CODEC
    recall: float = DEFAULT_RECALL
    texts: tuple[TextField, ...] = ()


@dataclass(frozen=True, slots=True)
class VectorBatch:
    """Vectors to put, all or none.

    Attributes:
        keys: distinct vector keys, n of them.
        vectors: finite float32 of shape (n, dimension).
        metadata: n compact JSON objects as UTF-8 bytes; `b"{}"` for none.
    """

    keys: Sequence[str]
    vectors: Float32Matrix
    metadata: Sequence[bytes]

    def take(self, rows: Sequence[int]) -> VectorBatch:
        """Some of the vectors, by their places here."""
        keys, metadata = [self.keys[row] for row in rows], [self.metadata[row] for row in rows]
        return VectorBatch(keys, self.vectors[rows], metadata)
