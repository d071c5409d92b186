"""The reference of every engine: rows in a dict, distances by correctly rounded sums, order by (distance, key)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import orjson

from engine.text_reference import by_sum, hybrid
from quiver.model.filter import matches
from quiver.model.types import DistanceMetric, VectorBatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from engine.text_reference import Ranked
    from quiver.engine.engine import Cursor, Query
    from quiver.model.filter import Filter
    from quiver.model.types import TextField

FLOAT32_MAX = float(np.finfo(np.float32).max)
GRID = 2.0**-46


def distance(left: np.ndarray, right: np.ndarray, metric: DistanceMetric) -> float:
    """As `quiver.ann.distance` defines it: a float32 value. Products of two float32 are exact in float64."""
    pairs = list(zip(left.astype(float).tolist(), right.astype(float).tolist(), strict=True))
    if metric is DistanceMetric.EUCLIDEAN:
        root = math.sqrt(math.fsum((a - b) * (a - b) for a, b in pairs))
        return float(np.float32(min(root, FLOAT32_MAX)))
    dot = math.fsum(a * b for a, b in pairs)
    scale = math.sqrt(math.fsum(a * a for a, _ in pairs)) * math.sqrt(math.fsum(b * b for _, b in pairs))
    exact = round((1.0 - dot / scale) / GRID) * GRID
    return float(np.float32(min(max(exact, 0.0), 2.0)))


class Stored(NamedTuple):
    """One row of the model."""

    vector: np.ndarray
    metadata: bytes


@dataclass
class Model:
    """What an index must hold."""

    metric: DistanceMetric
    rows: dict[str, Stored] = field(default_factory=dict)
    texts: list[TextField] = field(default_factory=list)

    def put(self, batch: VectorBatch) -> None:
        for key, vector, metadata in zip(batch.keys, batch.vectors, batch.metadata, strict=True):
            self.rows[key] = Stored(vector.copy(), metadata)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.rows.pop(key, None)

    def ranking(
        self, query: np.ndarray, condition: Filter | None = None, after: Cursor | None = None
    ) -> list[tuple[float, str]]:
        """Every match past the cursor as (distance, key), ascending."""
        scored = sorted(
            (distance(query, row.vector, self.metric), key)
            for key, row in self.rows.items()
            if condition is None or matches(condition, orjson.loads(row.metadata))
        )
        return [entry for entry in scored if after is None or entry > after[:2]]

    @property
    def documents(self) -> dict[str, bytes]:
        """The metadata by key."""
        return {key: row.metadata for key, row in self.rows.items()}

    def answer(self, query: Query) -> list[Ranked]:
        """All that a query with texts finds past its cursor, whatever its limit."""
        fields, condition, after = self.texts, query.filter, query.after
        if query.vector is None:
            return by_sum(self.documents, fields, query.texts, condition, after)
        returned = 0 if after is None else after.returned
        length = max(query.limit + returned, query.total, 100)
        nearest = self.ranking(query.vector, condition)
        return hybrid(nearest, self.documents, fields, query.texts, length, condition, after)


def make_batch(
    keys: Iterable[str],
    vectors: np.ndarray | list[list[float]],
    metadata: list[Mapping[str, object]] | None = None,
) -> VectorBatch:
    """A batch from plain values."""
    names = list(keys)
    documents = [orjson.dumps(document) for document in metadata] if metadata else [b"{}"] * len(names)
    return VectorBatch(names, np.array(vectors, np.float32).reshape(len(names), -1), documents)
