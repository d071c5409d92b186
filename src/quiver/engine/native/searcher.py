"""Nearest-neighbour search over a snapshot: candidates of every segment and of the tail, ranked in float64.

Every candidate has bounds of its exact score. A row can be among the nearest only if its least possible score does
not exceed the k-th smallest of the greatest possible scores; these rows are ranked by exact distance, ties by key.
So distances are always exact, and the answer is that of a brute-force search wherever segments are searched whole.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

import numpy as np

from quiver.ann._kernels import least
from quiver.ann.distance import FLOAT32_MAX
from quiver.ann.exact import score_of
from quiver.engine.engine import Hits, SourceWork
from quiver.engine.native.exact_search import Found, make_target, score_rows
from quiver.engine.native.segment_search import search_segment
from quiver.model.record import Record
from quiver.storage.cache.view import Missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from quiver.engine.engine import Query
    from quiver.engine.native.candidates import Candidates, Source
    from quiver.engine.native.exact_search import Target
    from quiver.engine.native.snapshot import OpenSegment, Snapshot
    from quiver.engine.native.tail import TailBlockView
    from quiver.model.types import Float32Matrix, IndexSpec

_SLACK = 1e-6  # relative: more than the rounding of a float32 distance


class Nearest(Record, frozen=True):
    """The nearest rows, ascending by distance and then by key.

    Attributes:
        distances: float32 of shape (n,).
        keys: n vector keys.
        sources, rows: where each is, and its row number there.
        work: what it took to find them.
    """

    distances: NDArray[np.float32]
    keys: list[str]
    sources: list[Source]
    rows: list[int]
    work: list[SourceWork]

    @property
    def places(self) -> list[tuple[Source, int]]:
        """Where each row is."""
        return list(zip(self.sources, self.rows, strict=True))


def search(snapshot: Snapshot, spec: IndexSpec, query: Query) -> Hits:
    """Answer a query that has only a vector at the snapshot's commit. CPU and page-ins only. Raises DataError."""
    if query.vector is None:
        raise ValueError("a query without a vector")
    nearest = find_nearest(snapshot, spec, query, query.vector)
    metadata, vectors = None, None
    if query.metadata or query.vectors:
        metadata, vectors = details_of(nearest.places, spec, query)
    return Hits(nearest.keys, nearest.distances, metadata, snapshot.commit, nearest.work, None, vectors)


def find_nearest(snapshot: Snapshot, spec: IndexSpec, query: Query, vector: NDArray[np.float32]) -> Nearest:
    """The nearest rows to the query's vector. Raises DataError."""
    recall = spec.recall if query.recall is None else query.recall
    target = make_target(vector, spec, query.depth, recall, query.filter, metadata=query.metadata)
    found = _search_segments(snapshot.segments, target)
    for view in snapshot.tail.blocks(query.filter, spec.non_filterable):
        if view.mask.any():
            found.append(_search_block(view, target))
    candidates, work, exact = [], [], True
    for one in found:
        candidates.append(one.candidates)
        work.append(one.work)
        exact = exact and one.candidates.exact is not None
    if not exact:
        candidates = _survivors(candidates, spec, query)
    return _rank(candidates, spec, query, vector, work)


def _search_segments(segments: Sequence[OpenSegment], target: Target) -> list[Found]:
    """Raises MissingBytesError with all that the segments lack for their next step."""
    if len(segments) == 1:
        return [search_segment(segments[0], target)]
    found, missing = [], Missing()
    for segment in segments:
        with missing:
            found.append(search_segment(segment, target))
    missing.raise_any()
    return found


def _search_block(view: TailBlockView, target: Target) -> Found:
    block, mask = view
    count = len(mask)
    scored = score_rows(block, np.arange(count), block.vectors[:count], block.norms[:count], target).keep(mask)
    nbytes = block.vectors[:count].nbytes
    return Found(scored, SourceWork("tail", "rows", "scan", count, len(scored.rows), 1, 1, 0, count, nbytes))


# ---------------------------------------------------------------- rank


def _survivors(found: Sequence[Candidates], spec: IndexSpec, query: Query) -> list[Candidates]:
    """Rows that may be among the `limit` nearest after the cursor."""
    after = -np.inf
    if query.after is not None:
        score = min(score_of(max(query.after.place, 0.0), spec.metric), FLOAT32_MAX)
        floor, after = score * (1 - _SLACK), min(score * (1 + _SLACK), FLOAT32_MAX)
        found = [candidates.keep(candidates.high >= floor) for candidates in found]
    highs = [candidates.high[candidates.low > after] for candidates in found]
    surely_after = np.concatenate(highs) if highs else np.zeros(0, np.float32)
    if len(surely_after) < query.limit:
        return list(found)
    worst = np.partition(surely_after, query.limit - 1)[query.limit - 1]
    return [candidates.keep(candidates.low <= worst) for candidates in found]


def _rank(
    survivors: Sequence[Candidates],
    spec: IndexSpec,
    query: Query,
    vector: NDArray[np.float32],
    work: list[SourceWork],
) -> Nearest:
    """The page that the query asks for."""
    exact = [candidates.distances(vector, spec.metric) for candidates in survivors]
    merged = exact[0] if len(exact) == 1 else np.concatenate([np.zeros(0, np.float32), *exact])
    order, tied = _nearest(merged, query)
    distances, (keys, sources, rows) = merged[order], _keyed(survivors, order)
    if tied:
        _sort_ties(np.flatnonzero(distances[1:] == distances[:-1]).tolist(), keys, sources, rows)
    start = 0
    if query.after is not None:
        start = bisect_right(list(zip(distances.tolist(), keys, strict=True)), query.after[:2])
    page = slice(start, start + query.limit)
    return Nearest(distances[page], keys[page], sources[page], rows[page], work)


def _sort_ties(equal: Sequence[int], keys: list[str], sources: list[Source], rows: list[int]) -> None:
    """Sort by key the rows at one distance; `equal` are the numbers of those at the same distance as the next."""
    runs: list[tuple[int, int]] = []
    for number in equal:
        first = runs.pop()[0] if runs and runs[-1][1] == number + 1 else number
        runs.append((first, number + 2))
    for first, end in runs:
        tied = slice(first, end)
        by_key = sorted(zip(keys[tied], range(first, end), strict=True))
        moved = [(key, sources[number], rows[number]) for key, number in by_key]
        keys[tied], sources[tied], rows[tied] = zip(*moved, strict=True)


def _keyed(found: Sequence[Candidates], order: NDArray[np.int64]) -> tuple[list[str], list[Source], list[int]]:
    """Key, source and row of the candidates with these numbers, which count through all sources."""
    if len(found) == 1:
        return _keyed_of_one(found[0], order)
    places: dict[int, tuple[str, Source, int]] = {}
    start, missing = 0, Missing()
    for candidates in found:
        end = start + len(candidates.rows)
        theirs = np.flatnonzero((order >= start) & (order < end))
        with missing:
            of_one = _keyed_of_one(candidates, order[theirs] - start)
            places.update(zip(theirs.tolist(), zip(*of_one, strict=True), strict=True))
        start = end
    missing.raise_any()
    keyed = [places[number] for number in range(len(order))]
    return [place[0] for place in keyed], [place[1] for place in keyed], [place[2] for place in keyed]


def _keyed_of_one(found: Candidates, order: NDArray[np.int64]) -> tuple[list[str], list[Source], list[int]]:
    """The same of one source."""
    chosen = found.rows[order]
    return found.source.keys_of(chosen), [found.source] * len(chosen), chosen.tolist()


def metadata_of(places: Sequence[tuple[Source, int]]) -> list[bytes]:
    """Of every row, read source by source."""
    texts: dict[tuple[int, int], bytes] = {}
    for source in {id(place[0]): place[0] for place in places}.values():
        rows = [row for theirs, row in places if theirs is source]
        texts.update(zip(((id(source), row) for row in rows), source.metadata_of(rows), strict=True))
    return [texts[id(source), row] for source, row in places]


def details_of(
    places: Sequence[tuple[Source, int]], spec: IndexSpec, query: Query
) -> tuple[list[bytes] | None, Float32Matrix | None]:
    """Metadata and vectors of every row, where the query asks for them."""
    if not query.vectors:
        return (metadata_of(places) if query.metadata else None), None
    metadata, vectors, missing = None, None, Missing()
    with missing:
        metadata = metadata_of(places) if query.metadata else None
    with missing:
        vectors = _vectors_of(places, spec.dimension)
    missing.raise_any()
    return metadata, vectors


def _vectors_of(places: Sequence[tuple[Source, int]], dimension: int) -> Float32Matrix:
    """Of every row, shape (len(places), dimension), read source by source."""
    vectors, missing = np.empty((len(places), dimension), np.float32), Missing()
    for source in {id(place[0]): place[0] for place in places}.values():
        numbers = [number for number, place in enumerate(places) if place[0] is source]
        with missing:
            vectors[numbers] = source.take_vectors(np.array([places[number][1] for number in numbers]))
    missing.raise_any()
    return vectors


def _nearest(merged: NDArray[np.float32], query: Query) -> tuple[NDArray[np.int64], bool]:
    """Numbers of the `limit` nearest past the cursor, and of all that tie with it or with the last, in order of
    distance; and whether any two are at one distance."""
    wanted, floor = query.limit, -np.inf
    if query.after is not None:
        floor = float(np.float32(query.after.place))
        wanted += int((merged == np.float32(floor)).sum())
    numbers = np.empty(len(merged), np.int64)
    count, tied = least(merged, floor, wanted, numbers)
    return numbers[:count], tied
