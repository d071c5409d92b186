"""Measures the recall that queries of an index have, on rows of its own, against exact search (Upkeep.recall)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quiver.engine.engine import Query
from quiver.engine.native.export import sources_of
from quiver.engine.native.searcher import search
from quiver.engine.upkeep import RecallReport

if TYPE_CHECKING:
    from quiver.engine.native.index import NativeIndex
    from quiver.engine.native.snapshot import Snapshot
    from quiver.model.filter import Filter
    from quiver.model.types import IndexSpec

_SURE = 1.96  # standard errors on either side that hold the mean in 95 of 100 cases


async def measure_recall(
    index: NativeIndex, *, queries: int, limit: int, condition: Filter | None, seed: int
) -> RecallReport:
    """See Upkeep.recall."""
    snapshot = await index.snapshots.take_whole()
    with index.snapshots.forgetting_damage():
        found = await index.runtime.offload(_measure, snapshot, index.spec, queries, limit, condition, seed)
    spread = _SURE * float(found.std(ddof=1)) / len(found) ** 0.5 if len(found) > 1 else 0.0
    mean = float(found.mean()) if len(found) else 1.0
    return RecallReport(
        len(found),
        limit,
        index.spec.recall,
        mean,
        max(0.0, mean - spread),
        min(1.0, mean + spread),
        snapshot.commit,
    )


def _measure(
    snapshot: Snapshot, spec: IndexSpec, queries: int, limit: int, condition: Filter | None, seed: int
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The recall of each query that has neighbours. A row is not its own neighbour."""
    shares = []
    for key, vector in _sample(snapshot, spec.dimension, queries, seed):
        true, answered = (
            [each for each in search(snapshot, spec, query).keys if each != key][:limit]
            for query in (
                Query(vector, limit + 1, condition, recall=1.0),
                Query(vector, limit + 1, condition),
            )
        )
        if true:
            shares.append(len(set(true) & set(answered)) / len(true))
    return np.array(shares)


def _sample(snapshot: Snapshot, dimension: int, count: int, seed: int) -> list[tuple[str, np.ndarray]]:
    """Live rows chosen at random."""
    sources = sources_of(snapshot, dimension)
    ends = np.cumsum([source.rows for source in sources])
    total = int(ends[-1])
    chosen = np.sort(np.random.default_rng(seed).choice(total, min(count, total), replace=False))
    rows: list[tuple[str, np.ndarray]] = []
    for source, end in zip(sources, ends.tolist(), strict=True):
        local = chosen[(chosen >= end - source.rows) & (chosen < end)] - (end - source.rows)
        if len(local):
            rows += zip(source.texts(local)[0], source.vectors(local), strict=True)
    return rows
