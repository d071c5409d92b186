"""Benchmark of exact queries against NumPy brute force on the same rows, in one process and one thread each.

Run: OPENBLAS_NUM_THREADS=1 python -m benchmarks.exact_query [rounds]. Quiver answers through its engine on a local
root: a query reads the store to learn of new commits, plans, scans, ranks in float64 and reads keys. NumPy has the
float32 matrix and the norms in memory, and computes scores and argpartition, nothing else. With a filter NumPy has
its column ready as an array, and the faster of two ways counts: to score all rows and mask, or to pick rows out.
Both answer each query in turn. Also measured: both plans by the share of rows let through, for the planner.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.common import data_folder, debian, describe_machine, scratch, show, unit_rows
from quiver.engine.engine import Query
from quiver.engine.native import planner, searcher
from quiver.engine.native.engine import NativeEngine
from quiver.engine.native.planner import Plan
from quiver.model.filter_parser import parse_filter
from quiver.model.runtime import SystemRuntime
from quiver.model.types import DistanceMetric, IndexSpec, VectorBatch
from quiver.objectstore.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from quiver.engine.engine import Index

K, BATCH, QUERIES = 10, 500, 50
SHARES = (None, 50, 10, 1)
"""Percent of the rows that a filter lets through; None for no filter."""


class Spent(NamedTuple):
    """Seconds on the clock, and of this process's processor time, which other processes disturb less."""

    wall: float
    work: float


class DataSet(NamedTuple):
    """Rows and queries, float32; `group` is a number from 0 to 99 for each row, for filters."""

    name: str
    rows: np.ndarray
    queries: np.ndarray
    metric: DistanceMetric
    group: np.ndarray


def data_sets() -> list[DataSet]:
    """The real data where they are there, random directions otherwise."""
    sets = []
    if folder := data_folder("debian"):
        rows, queries = debian(folder), debian(folder, "queries")
        sets.append(_grouped("Debian, 20,000 x 384", rows, queries, DistanceMetric.COSINE))
    if folder := data_folder("mnist"):
        with np.load(folder / "mnist784.npz") as stored:
            rows, queries = (stored[name].astype(np.float32) for name in ("base", "queries"))
        sets.append(_grouped("MNIST, 60,000 x 784", rows, queries, DistanceMetric.EUCLIDEAN))
    if not sets:
        made = unit_rows(20_200, 384)
        sets.append(_grouped("random, 20,000 x 384", made[:20_000], made[20_000:], DistanceMetric.COSINE))
    return sets


def _grouped(name: str, rows: np.ndarray, queries: np.ndarray, metric: DistanceMetric) -> DataSet:
    return DataSet(name, rows, queries, metric, np.random.default_rng(7).integers(0, 100, len(rows)))


# ---------------------------------------------------------------- NumPy


class BruteForce:
    """The NumPy side."""

    def __init__(self, data: DataSet) -> None:
        self._data = data
        self._norms = np.linalg.norm(data.rows, axis=1)
        self._squares = self._norms**2

    def scan(self, query: np.ndarray, share: int | None) -> np.ndarray:
        """The nearest row numbers: score all, mask."""
        scores = self._scores(query, self._data.rows, slice(None))
        if share is not None:
            scores = np.where(self._data.group < share, scores, np.inf)
        return self._nearest(scores)

    def pick(self, query: np.ndarray, share: int) -> np.ndarray:
        """The same: pick the rows out, score those."""
        chosen = np.flatnonzero(self._data.group < share)
        return chosen[self._nearest(self._scores(query, self._data.rows[chosen], chosen))]

    def _scores(self, query: np.ndarray, rows: np.ndarray, which: slice | np.ndarray) -> np.ndarray:
        dots = rows @ query
        if self._data.metric is DistanceMetric.COSINE:
            return 1 - dots / (self._norms[which] * np.linalg.norm(query))
        return self._squares[which] - 2 * dots

    @staticmethod
    def _nearest(scores: np.ndarray) -> np.ndarray:
        best = np.argpartition(scores, K)[:K]
        return best[np.argsort(scores[best])]


# ---------------------------------------------------------------- Quiver


async def load(engine: NativeEngine, data: DataSet, number: int) -> Index:
    """The rows in one segment."""
    spec = IndexSpec(data.rows.shape[1], data.metric)
    index = await engine.open(f"{number:032x}", spec)
    for start in range(0, len(data.rows), BATCH):
        part = slice(start, start + BATCH)
        keys = [f"row-{row}" for row in range(start, start + len(data.rows[part]))]
        metadata = [b'{"group":%d}' % group for group in data.group[part].tolist()]
        await index.put(VectorBatch(keys, data.rows[part], metadata))
    await engine.compact(f"{number:032x}", spec)
    return index


async def compare(data: DataSet, index: Index, rounds: int) -> None:
    """Print a line per filter."""
    brute = BruteForce(data)
    for share in SHARES:
        condition = parse_filter({"group": {"$lt": share}}, ()) if share else None
        ways = (brute.scan,) if share is None else (brute.scan, brute.pick)
        ours: list[Spent] = []
        theirs: list[list[Spent]] = [[] for _ in ways]
        agreed = 0
        for query in list(data.queries[:QUERIES]) * rounds:
            start = _now()
            hits = await index.query(Query(query, K, condition))
            ours.append(_since(start))
            for way, spent in zip(ways, theirs, strict=True):
                start = _now()
                nearest = way(query, share)
                spent.append(_since(start))
            agreed += hits.keys == [f"row-{row}" for row in nearest.tolist()]
        (wall, work), (numpy_wall, numpy_work) = _medians(ours), min(map(_medians, theirs))
        show(
            {
                "data": data.name,
                "filter": f"{share} %" if share else "none",
                "quiver ms": round(wall, 2),
                "NumPy ms": round(numpy_wall, 2),
                "ratio": round(wall / numpy_wall, 2),
                "quiver CPU ms": round(work, 2),
                "NumPy CPU ms": round(numpy_work, 2),
                "CPU ratio": round(work / numpy_work, 2),
                "same keys in the same order": f"{agreed} of {len(ours)}",
            }
        )


def _now() -> Spent:
    return Spent(time.perf_counter(), time.process_time())


def _since(start: Spent) -> Spent:
    now = _now()
    return Spent(now.wall - start.wall, now.work - start.work)


def _medians(spent: list[Spent]) -> Spent:
    """In milliseconds."""
    return Spent(*(statistics.median(column) * 1e3 for column in zip(*spent, strict=True)))


async def calibrate(data: DataSet, index: Index) -> None:
    """Print what both plans take by the number of rows that a filter lets through."""
    for share in (1, 2, 4, 6, 9, 12, 16, 25):
        condition = parse_filter({"group": {"$lt": share}}, ())
        times = {}
        for choice in Plan:
            searcher.plan = _always(choice)
            await index.query(Query(data.queries[0], K, condition))
            samples = []
            for query in data.queries[:30]:
                start = _now()
                await index.query(Query(query, K, condition))
                samples.append(_since(start))
            times[choice.value] = round(_medians(samples).work, 2)
        show({"data": data.name, "rows let through, %": share, "CPU ms by plan": times})
    searcher.plan = planner.plan


def _always(choice: Plan) -> Callable[[int, int], Plan]:
    return lambda _candidates, _rows: choice


async def run(rounds: int) -> None:
    """Every data set in turn."""
    runtime = SystemRuntime()
    for number, data in enumerate(data_sets(), 1):
        with tempfile.TemporaryDirectory(prefix="quiver-bench-", dir=scratch()) as folder:
            store = LocalStore(Path(folder), runtime)
            engine = NativeEngine(store, runtime)
            index = await load(engine, data, number)
            await compare(data, index, rounds)
            await calibrate(data, index)
            await engine.close()
            await store.close()


def main() -> None:
    """Print the machine and the results."""
    print(f"{describe_machine()}; OPENBLAS_NUM_THREADS={os.environ.get('OPENBLAS_NUM_THREADS', 'unset')}")
    asyncio.run(run(int(sys.argv[1]) if len(sys.argv) > 1 else 4))


if __name__ == "__main__":
    main()
