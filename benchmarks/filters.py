"""Metadata columns for filtered searches, filters of a wanted selectivity, and the exact answers to them.

Three relations to the query: `random` (a label given without regard to the vectors), `near` (the k-means cells
nearest to the query, so the filter lets through what the query looks for) and `far` (the cells farthest from it,
so everything an index would look at first is filtered out). Needs faiss for the cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import orjson

from benchmarks.datasets import SEED, Truth, rank, score_blocks

if TYPE_CHECKING:
    from benchmarks.datasets import Dataset

Columns: TypeAlias = dict[str, np.ndarray]
"""One integer for each row, by column name."""

Filter: TypeAlias = dict[str, list[int]]
"""Every named column must have one of the listed values."""

SHARES = (0.5, 0.1, 0.01, 0.001, 0.0001)
"""Of the rows let through; `label` has the place in this tuple, or its length for the remaining rows."""

RELATIONS = ("random", "near", "far")
COARSE, FINE = 64, 1024


class Case(NamedTuple):
    """Filters of one kind, one for each query, with the true neighbours and how many rows match."""

    relation: str
    share: float
    filters: list[Filter]
    truth: Truth
    matches: list[int]

    @property
    def name(self) -> str:
        """E.g. `near 1 %`."""
        return f"{self.relation} {self.share * 100:g} %"


def columns(data: Dataset) -> Columns:
    """`label` (of exact shares) and `tenth` (0 to 9) at random, `cell` and `fine` (k-means); kept."""
    path = data.folder / "columns.npz"
    if not path.exists():
        generator = np.random.default_rng(SEED)
        coarse, fine = (_cells(data, min(count, len(data.rows) // 20)) for count in (COARSE, FINE))
        made = {
            "label": labels(len(data.rows), generator),
            "tenth": generator.integers(0, 10, len(data.rows)),
            "cell": coarse,
            "fine": fine,
        }
        np.savez(path, **made)
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def labels(rows: int, generator: np.random.Generator) -> np.ndarray:
    """Label i on `SHARES[i]` of the rows, at least on one; the other rows have the last label."""
    made = np.full(rows, len(SHARES))
    start = 0
    for label, share in enumerate(SHARES):
        count = max(1, round(rows * share))
        made[start : start + count] = label
        start += count
    return generator.permutation(made)


def cases(data: Dataset, queries: int) -> list[Case]:
    """Every relation with every share, for the first queries; kept with the data."""
    path = data.folder / f"cases-{queries}.json"
    if not path.exists():
        made = [case._asdict() | {"truth": case.truth._asdict()} for case in _cases(data, columns(data), queries)]
        path.write_bytes(orjson.dumps(made, option=orjson.OPT_SERIALIZE_NUMPY))
    return [_restored(case) for case in orjson.loads(path.read_bytes())]


def _restored(case: dict[str, Any]) -> Case:
    ids, distances = np.array(case["truth"]["ids"]), np.array(case["truth"]["distances"], float)
    return Case(**case | {"truth": Truth(ids, np.where(ids < 0, np.inf, distances))})


def _cases(data: Dataset, table: Columns, queries: int) -> list[Case]:
    chosen = data.queries[:queries]
    scores = np.hstack([block for _, block in score_blocks(data.rows, chosen, data.metric)])
    made = []
    for relation in RELATIONS:
        for place, share in enumerate(SHARES):
            filters = (
                [{"label": [place]}] * len(chosen)
                if relation == "random"
                else [_by_cells(table, row, share, far=relation == "far") for row in scores]
            )
            masks = [mask(table, filter_) for filter_ in filters]
            found = [_exact(data, q, row, m) for q, row, m in zip(chosen, scores, masks, strict=True)]
            answers = Truth(np.stack([f.ids for f in found]), np.stack([f.distances for f in found]))
            made.append(Case(relation, share, filters, answers, [int(m.sum()) for m in masks]))
    return made


def mask(table: Columns, filter_: Filter) -> np.ndarray:
    """Which rows a filter lets through."""
    passed = np.ones(len(table["label"]), bool)
    for name, values in filter_.items():
        passed &= np.isin(table[name], values)
    return passed


def choose_cells(sizes: np.ndarray, order: np.ndarray, wanted: float) -> list[int]:
    """Cells in this order, as many as come nearest to the wanted number of rows, and at least one."""
    sums = np.cumsum(sizes[order])
    return sorted(order[: int(np.argmin(np.abs(sums - wanted))) + 1].tolist())


def _by_cells(table: Columns, scores: np.ndarray, share: float, *, far: bool) -> Filter:
    """Cells by the mean score of their rows; the rarest share is a tenth of the next one."""
    name = "cell" if share >= 0.1 else "fine"
    sizes = np.bincount(table[name])
    means = np.bincount(table[name], scores) / np.maximum(sizes, 1)
    order = np.argsort(-means if far else means)
    order = order[sizes[order] > 0]
    rare = share < 0.001
    chosen: Filter = {name: choose_cells(sizes, order, len(scores) * (share * 10 if rare else share))}
    return chosen | {"tenth": [0]} if rare else chosen


def _exact(data: Dataset, query: np.ndarray, scores: np.ndarray, passed: np.ndarray) -> Truth:
    ids = np.flatnonzero(passed)
    if len(ids) > 200:
        ids = ids[np.argpartition(scores[ids], 199)[:200]]
    return rank(data.rows, ids, query, data.metric, 100)


def _cells(data: Dataset, count: int) -> np.ndarray:
    import faiss

    rows = np.asarray(data.rows, np.float32)
    kmeans = faiss.Kmeans(data.dimension, count, niter=8, seed=SEED, max_points_per_centroid=64)
    kmeans.cp.min_points_per_centroid = 1
    kmeans.train(rows)
    return kmeans.index.search(rows, 1)[1][:, 0]
