"""Scores rows of a segment exactly: rows picked out, or all in turn; for a target, which is defined here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quiver.ann.exact import bounds_of, score_bounds
from quiver.ann.space import query_to_space
from quiver.engine.engine import SourceWork
from quiver.engine.native.candidates import Candidates
from quiver.model.record import Record
from quiver.storage.cache.view import MissingBytesError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.engine.native.candidates import Source
    from quiver.engine.native.planner import Method
    from quiver.model.filter import Filter
    from quiver.model.types import DistanceMetric, Float32Matrix, IndexSpec
    from quiver.storage.segment_reader import SegmentReader

_MANY = 300  # rows picked out that are worth bounding in float32 first, beside those that have to be ranked anyway


class Target(Record, frozen=True):
    """What is looked for.

    Attributes:
        vector: the query, of euclidean norm `norm`.
        point: the query in search space, None when only exact search can rank rows for it.
        limit: how many of the nearest rows have to be found, those of earlier pages included.
        recall: which share of them.
        metadata: whether their metadata will be asked for.
    """

    vector: NDArray[np.float32]
    norm: float
    point: NDArray[np.float32] | None
    metric: DistanceMetric
    limit: int
    recall: float
    filter: Filter | None
    metadata: bool


def make_target(
    vector: NDArray[np.float32],
    spec: IndexSpec,
    limit: int,
    recall: float,
    condition: Filter | None,
    *,
    metadata: bool = False,
) -> Target:
    """The target of a query."""
    point, norm = query_to_space(vector, spec.metric)
    return Target(vector, norm, point, spec.metric, limit, recall, condition, metadata)


class Found(Record, frozen=True):
    """Candidates, and what it took to find them."""

    candidates: Candidates
    work: SourceWork


def score_rows(
    source: Source, rows: NDArray[np.int64], vectors: Float32Matrix, norms: NDArray[np.float32], target: Target
) -> Candidates:
    """Exact bounds; `rows` are the row numbers of `vectors`."""
    low, high = score_bounds(target.vector, target.norm, vectors, norms, target.metric)
    return Candidates(source, rows, low, high)


def gather(reader: SegmentReader, rows: NDArray[np.int64], target: Target) -> Candidates:
    """Rows picked out, bounded where they are many. When any is not here, its key and metadata come along.

    Keys alone are not asked for before: they come in one wave later, and of fewer rows.
    """
    if target.metadata and not reader.has_metadata(rows):
        reader.require_rows(rows, metadata=True)
    try:
        if len(rows) >= _MANY + 2 * target.limit:
            bounds = reader.bounds(rows, target.vector, target.norm, target.metric)
            if bounds is not None:
                return Candidates(reader, rows, *bounds)
        exact = reader.distances(rows, target.vector, target.metric)
    except MissingBytesError:
        reader.require_rows(rows, metadata=target.metadata)
        raise
    return Candidates(reader, rows, *bounds_of(exact, target.metric), exact)


def gather_here(reader: SegmentReader, rows: NDArray[np.int64], target: Target, keep: int) -> Candidates | None:
    """Rows picked out, when they are all here; None when not. When metadata will be asked for, that of the `keep`
    nearest has to be here, too: what came for rows that int8 chose would otherwise be followed by another wave.
    """
    exact = reader.distances_here(rows, target.vector, target.metric)
    if exact is None:
        return None
    if target.metadata:
        nearest = np.sort(rows[np.argpartition(exact, keep - 1)[:keep]])
        if not reader.has_metadata(nearest):
            return None
    return Candidates(reader, rows, *bounds_of(exact, target.metric), exact)


def scan(
    reader: SegmentReader, mask: NDArray[np.bool_] | None, target: Target, start: int = 0, end: int | None = None
) -> list[Candidates]:
    """Rows [start, end) that the mask allows, block by block."""
    parts = []
    for first, block in reader.blocks(start, end):
        part = slice(first, first + len(block))
        scored = score_rows(reader, np.arange(first, part.stop), block, reader.norms[part], target)
        parts.append(scored if mask is None else scored.keep(mask[part]))
    return parts


def work_of(
    reader: SegmentReader, method: Method, matches: int, probed: int, codes: int, vectors: int, int8: str = ""
) -> SourceWork:
    """What was done: `probed` partitions, `codes` scored by codes and `vectors` exactly; see SourceWork."""
    nbytes = codes * (reader.codes.code_size + 8) + vectors * 4 * reader.dimension
    count = len(reader.codes.ends)
    return SourceWork(
        reader.segment,
        reader.structure_name,
        str(method),
        reader.rows,
        matches,
        count,
        probed,
        codes,
        vectors,
        nbytes,
        int8,
    )
