"""Measures the recall that queries of an index have against exact search (Upkeep.recall)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quiver.engine.engine import Query
from quiver.engine.native.export import sources_of
from quiver.engine.native.searcher import search
from quiver.engine.upkeep import RecallReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from quiver.engine.native.index import NativeIndex
    from quiver.engine.native.snapshot import Snapshot
    from quiver.model.filter import Filter
    from quiver.model.types import Float32Matrix, IndexSpec

_SURE = 1.96  # standard errors on either side that hold the mean in 95 of 100 cases


async def measure_recall(
    index: NativeIndex, *, queries: int | Float32Matrix, limit: int, condition: Filter | None, seed: int
) -> RecallReport:
    """See Upkeep.recall."""
    snapshot = await index.snapshots.take_whole()
    with index.snapshots.forgetting_damage():
        found = await index.runtime.offload(_measure, snapshot, index.spec, queries, limit, condition, seed)
    mean, low, high = _interval(found)
    return RecallReport(len(found), limit, index.spec.recall, mean, low, high, snapshot.commit)


def _interval(shares: NDArray[np.float64]) -> tuple[float, float, float]:
    """The mean, and what it lies between; one share tells nothing about others."""
    if len(shares) < 2:
        return (float(shares[0]) if len(shares) else 1.0), 0.0, 1.0
    mean = float(shares.mean())
    spread = _SURE * float(shares.std(ddof=1)) / len(shares) ** 0.5
    return mean, max(0.0, mean - spread), min(1.0, mean + spread)


def _measure(
    snapshot: Snapshot,
    spec: IndexSpec,
    queries: int | Float32Matrix,
    limit: int,
    condition: Filter | None,
    seed: int,
) -> NDArray[np.float64]:
    """The recall of each query that has neighbours. A row is not its own neighbour."""
    asked: Sequence[tuple[str | None, NDArray[np.float32]]]
    if isinstance(queries, int):
        asked = _sample(snapshot, spec.dimension, queries, seed)
    else:
        asked = [(None, vector) for vector in queries]
    shares = []
    for key, vector in asked:
        depth = limit if key is None else limit + 1
        true, answered = (
            [each for each in search(snapshot, spec, query).keys if each != key][:limit]
            for query in (Query(vector, depth, condition, recall=1.0), Query(vector, depth, condition))
        )
        if true:
            shares.append(len(set(true) & set(answered)) / len(true))
    return np.array(shares)


def _sample(
    snapshot: Snapshot, dimension: int, count: int, seed: int
) -> list[tuple[str | None, NDArray[np.float32]]]:
    """Live rows chosen at random."""
    sources = sources_of(snapshot, dimension)
    ends = np.cumsum([source.rows for source in sources])
    total = int(ends[-1])
    chosen = np.sort(np.random.default_rng(seed).choice(total, min(count, total), replace=False))
    rows: list[tuple[str | None, NDArray[np.float32]]] = []
    for source, end in zip(sources, ends.tolist(), strict=True):
        local = chosen[(chosen >= end - source.rows) & (chosen < end)] - (end - source.rows)
        if len(local):
            rows += zip(source.texts(local)[0], source.vectors(local), strict=True)
    return rows
