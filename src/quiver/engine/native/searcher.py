"""Exact nearest-neighbour search over a snapshot: scan with bounds, then rank the survivors in float64.

The scan gives each allowed row an estimated score and a bound of its error. A row can be among the nearest only
if its least possible score does not exceed the k-th smallest of the greatest possible scores; these rows are
ranked by exact distance, ties by key. So the answer is that of a brute-force search in float64, rounded once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from quiver.ann import registry
from quiver.ann.codec import score_of
from quiver.ann.distance import FLOAT32_MAX, distances
from quiver.engine.engine import Hits
from quiver.engine.native.planner import Plan, plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pyroaring import BitMap

    from quiver.engine.engine import Query
    from quiver.engine.native.snapshot import OpenSegment, Snapshot
    from quiver.engine.native.tail import TailBlockView
    from quiver.model.types import IndexSpec

_SLACK = 1e-6  # relative: more than the rounding of a float32 distance


class Source(Protocol):
    """Where candidate rows live: a segment, or a block of the tail."""

    def take_vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]: ...

    def key(self, row: int) -> str: ...

    def metadata_of(self, row: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Candidates:
    """Scored rows of one source.

    Attributes:
        rows: row numbers in the source, int64 of shape (n,).
        low, high: bounds of each row's score, float32 of shape (n,).
    """

    source: Source
    rows: NDArray[np.int64]
    low: NDArray[np.float32]
    high: NDArray[np.float32]

    def keep(self, mask: NDArray[np.bool_]) -> Candidates:
        """Those that the mask marks."""
        kept = np.flatnonzero(mask)  # found once, not once for each array
        return Candidates(self.source, self.rows[kept], self.low[kept], self.high[kept])


def search(snapshot: Snapshot, spec: IndexSpec, query: Query) -> Hits:
    """Answer a query at the snapshot's commit. CPU and page-ins only. Raises DataError."""
    found = [_scan_segment(segment, spec, query) for segment in snapshot.segments]
    found += [
        _scan_block(view, spec, query)
        for view in snapshot.tail.blocks(query.filter, spec.non_filterable)
        if view.mask.any()
    ]
    return _rank(_survivors(found, spec, query), spec, query, snapshot.commit)


# ---------------------------------------------------------------- scan


def _scan_segment(segment: OpenSegment, spec: IndexSpec, query: Query) -> Candidates:
    reader, dead = segment
    allowed = reader.columns.select(query.filter) - dead if query.filter is not None else None
    alive = reader.rows - len(dead) if allowed is None else len(allowed)
    if plan(alive, reader.rows) is Plan.GATHER:
        rows = _numbers(dead.flip(0, reader.rows) if allowed is None else allowed)
        return _score_rows(reader, rows, reader.take_vectors(rows), reader.norms[rows], spec, query)
    return _probe(segment, _row_mask(reader.rows, allowed, dead), spec, query)


def _row_mask(rows: int, allowed: BitMap | None, dead: BitMap) -> NDArray[np.bool_] | None:
    """Which rows may be returned, shape (rows,); None for all of them."""
    if allowed is None and not dead:
        return None
    mask = np.full(rows, allowed is None)
    mask[_numbers(dead if allowed is None else allowed)] = allowed is not None
    return mask


def _numbers(rows: BitMap) -> NDArray[np.int64]:
    """The members of a bitmap, ascending; NumPy alone would take them one by one."""
    return np.frombuffer(rows.to_array(), np.uint32).astype(np.int64)


def _score_rows(
    source: Source,
    rows: NDArray[np.int64],
    vectors: NDArray[np.float32],
    norms: NDArray[np.float32],
    spec: IndexSpec,
    query: Query,
) -> Candidates:
    """Whole vectors are scored as flat codes; `rows` are their row numbers."""
    flat = registry.codec("flat").train(vectors[:1], vectors[:1], 0)
    score = flat.scorer(query.vector, np.zeros(spec.dimension, np.float32), spec.metric)
    estimate, margin = score(vectors.view(np.uint8), norms)
    return Candidates(source, rows, estimate - margin, estimate + margin)


def _probe(segment: OpenSegment, mask: NDArray[np.bool_] | None, spec: IndexSpec, query: Query) -> Candidates:
    reader = segment.reader
    parts = [Candidates(reader, np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.float32))]
    for partition in reader.partitioner.probe(query.vector, reader.partitioner.count).tolist():
        scorer = reader.codec.scorer(query.vector, reader.partitioner.origin(partition), spec.metric)
        for first, codes in reader.codes(partition):
            part = slice(first, first + len(codes))
            estimate, margin = scorer(codes, reader.norms[part])
            scored = Candidates(reader, np.arange(first, part.stop), estimate - margin, estimate + margin)
            parts.append(scored if mask is None else scored.keep(mask[part]))
    return Candidates(
        reader,
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.low for part in parts]),
        np.concatenate([part.high for part in parts]),
    )


def _scan_block(view: TailBlockView, spec: IndexSpec, query: Query) -> Candidates:
    block, mask = view
    count = len(mask)
    scored = _score_rows(block, np.arange(count), block.vectors[:count], block.norms[:count], spec, query)
    return scored.keep(mask)


# ---------------------------------------------------------------- rank


def _survivors(found: Sequence[Candidates], spec: IndexSpec, query: Query) -> list[Candidates]:
    """Rows that may be among the `limit` nearest after the cursor."""
    after = -np.inf
    if query.after is not None:
        score = min(score_of(max(query.after.distance, 0.0), spec.metric), FLOAT32_MAX)
        floor, after = score * (1 - _SLACK), min(score * (1 + _SLACK), FLOAT32_MAX)
        found = [candidates.keep(candidates.high >= floor) for candidates in found]
    highs = [candidates.high[candidates.low > after] for candidates in found]
    surely_after = np.concatenate(highs) if highs else np.zeros(0, np.float32)
    if len(surely_after) < query.limit:
        return list(found)
    worst = np.partition(surely_after, query.limit - 1)[query.limit - 1]
    return [candidates.keep(candidates.low <= worst) for candidates in found]


def _rank(survivors: Sequence[Candidates], spec: IndexSpec, query: Query, commit: int) -> Hits:
    exact = [
        distances(query.vector, candidates.source.take_vectors(candidates.rows), spec.metric)
        for candidates in survivors
    ]
    merged = np.concatenate(exact) if exact else np.zeros(0, np.float32)
    places = [(candidates.source, row) for candidates in survivors for row in candidates.rows.tolist()]
    order = _nearest(merged, query)
    ranked = sorted((float(merged[number]), places[number][0].key(places[number][1]), number) for number in order)
    if query.after is not None:
        ranked = [entry for entry in ranked if entry[:2] > tuple(query.after)]
    ranked = ranked[: query.limit]
    metadata = (
        [places[number][0].metadata_of(places[number][1]) for _, _, number in ranked] if query.metadata else None
    )
    return Hits(
        [key for _, key, _ in ranked],
        np.array([distance for distance, _, _ in ranked], np.float32),
        metadata,
        commit,
    )


def _nearest(merged: NDArray[np.float32], query: Query) -> list[int]:
    """Numbers of the `limit` nearest past the cursor, with all that tie with the cursor or with the last."""
    numbers = np.arange(len(merged))
    at_cursor = 0
    if query.after is not None:
        numbers = numbers[merged >= np.float32(query.after.distance)]
        at_cursor = int((merged == np.float32(query.after.distance)).sum())
    wanted = query.limit + at_cursor
    if len(numbers) > wanted:
        worst = np.partition(merged[numbers], wanted - 1)[wanted - 1]
        numbers = numbers[merged[numbers] <= worst]
    return numbers.tolist()
