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

_SURE = 1.96  # standard errors on either side that hold the true share in 95 of 100 cases


async def measure_recall(
    index: NativeIndex, *, queries: int | Float32Matrix, limit: int, condition: Filter | None, seed: int
) -> RecallReport:
    """See Upkeep.recall."""
    snapshot = await index.snapshots.take_whole()
    with index.snapshots.forgetting_damage():
        found = await index.runtime.offload(_measure, snapshot, index.spec, queries, limit, condition, seed)
    mean, low, high = wilson(*found)
    return RecallReport(len(found[0]), limit, index.spec.recall, mean, low, high, snapshot.commit)


def wilson(found: NDArray[np.int64], sought: NDArray[np.int64]) -> tuple[float, float, float]:
    """The share of neighbours found, and what the true share lies between in 95 of 100 cases.

    The score interval of E. B. Wilson (Probable Inference, the Law of Succession, and Statistical Inference,
    Journal of the American Statistical Association 22, 1927), which tells something also when all are found. It
    supposes that whether a neighbour is found has nothing to do with others. Those of one query are found or
    missed together, though: so as many neighbours count as give the variance that there is between queries, and
    no more than there are (the effective size of a sample of clusters: L. Kish, Survey Sampling, 1965).

    Args:
        found, sought: of each query the neighbours found, and how many there are, more than 0. Shape (queries,).

    Returns: the share and the ends of the interval; 0 and 1 for fewer than two queries.
    """
    total = int(sought.sum())
    share = int(found.sum()) / total if total else 1.0
    if len(sought) < 2:
        return share, 0.0, 1.0
    size = float(total)
    off = found - share * sought
    variance = len(off) / (len(off) - 1) * float(off.dot(off)) / total**2  # of the share, as a ratio of sums
    if variance > 0:
        size = min(size, share * (1 - share) / variance)
    square = _SURE**2 / size
    middle = (share + square / 2) / (1 + square)
    spread = (share * (1 - share) * square + square**2 / 4) ** 0.5 / (1 + square)
    return share, min(share, max(0.0, middle - spread)), max(share, min(1.0, middle + spread))  # rounding aside


def _measure(
    snapshot: Snapshot,
    spec: IndexSpec,
    queries: int | Float32Matrix,
    limit: int,
    condition: Filter | None,
    seed: int,
) -> NDArray[np.int64]:
    """Of each query that has neighbours how many were found, and how many there are. Shape (2, queries).

    A row is not its own neighbour.
    """
    asked: Sequence[tuple[str | None, NDArray[np.float32]]]
    if isinstance(queries, int):
        asked = _sample(snapshot, spec.dimension, queries, seed)
    else:
        asked = [(None, vector) for vector in queries]
    counts = []
    for key, vector in asked:
        depth = limit if key is None else limit + 1
        true, answered = (
            [each for each in search(snapshot, spec, query).keys if each != key][:limit]
            for query in (Query(vector, depth, condition, recall=1.0), Query(vector, depth, condition))
        )
        if true:
            counts.append((len(set(true) & set(answered)), len(true)))
    return np.array(counts, np.int64).reshape(-1, 2).T


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
            rows += zip(map(bytes.decode, source.texts(local)[0]), source.vectors(local), strict=True)
    return rows
