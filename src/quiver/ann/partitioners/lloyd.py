"""Lloyd's k-means iterations, and distances to centroids: BLAS products of blocks of rows, on every core.

The same input gives the same centroids, whatever the number of threads: blocks depend on sizes alone, each
centroid's rows are summed in row order by one thread, and of equally near centroids the first is taken.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import faiss
import numpy as np
from xxhash import xxh3_64_intdigest

from quiver.ann import _kernels
from quiver.model.threads import on_every_core

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix


_BLOCK = 4096
_BLOCK_PRODUCTS = 1 << 19  # of rows and centroids: what is computed from them stays in the processor's cache
_LEAST_BLOCK = 64
_GROUPS = 16  # of centroids, whose rows are summed at once
_APART = np.float32(1 / 1024)
_WIDTH = 16  # as in native/sketch.h


def pick(rows: Float32Matrix, limit: int, seed: int) -> Float32Matrix:
    """A random choice of at most `limit` rows, in the order they stood in; all when there are no more."""
    if len(rows) <= limit:
        return rows
    chosen: Float32Matrix = rows[np.sort(np.random.default_rng(seed).permutation(len(rows))[:limit])]
    return chosen


def pick_distinct(rows: Float32Matrix, limit: int, seed: int) -> Float32Matrix:
    """A random choice of at most `limit` different rows; fewer only when there are no more."""
    for among in (4 * limit, len(rows)):
        candidates = np.ascontiguousarray(pick(rows, among, seed)) + np.float32(0)  # no -0, which equals 0
        hashes = np.fromiter(map(xxh3_64_intdigest, candidates), np.uint64, len(candidates))
        first = np.unique(hashes, return_index=True)[1]
        if len(first) >= limit or len(candidates) == len(rows):
            break
    return pick(candidates[np.sort(first)], limit, seed)


def lloyd(rows: Float32Matrix, centroids: Float32Matrix, iterations: int) -> Float32Matrix:
    """Centroids after some iterations; some may have no rows.

    Args:
        rows: of tame norms (`space.is_tame`), at least as many as centroids.
        centroids: the first ones.
    """
    if not len(centroids) < len(rows):
        return centroids
    for _ in range(iterations):
        assigned = nearest(rows, centroids)
        moved = means(rows, assigned, len(centroids))
        centroids = _fill_up(moved, np.bincount(assigned, minlength=len(centroids)))
    return centroids


def _fill_up(centroids: Float32Matrix, sizes: NDArray[np.int64]) -> Float32Matrix:
    """Those without rows moved to where most rows are: beside the heaviest, of which both then have a half."""
    aside = np.where(np.arange(centroids.shape[1]) % 2, _APART, -_APART)
    for empty in np.flatnonzero(sizes == 0).tolist():
        heaviest = int(sizes.argmax())
        centroids[empty] = centroids[heaviest] * (1 + aside)
        centroids[heaviest] *= 1 - aside
        sizes[empty] = sizes[heaviest] // 2
        sizes[heaviest] -= sizes[empty]
    return centroids


def nearest(rows: Float32Matrix, centroids: Float32Matrix) -> NDArray[np.int32]:
    """The nearest centroid of each row, the first of those equally near, shape (rows,).

    As exact as float32 products: nearly equal distances may be told apart differently in another batch.
    """
    across = np.ascontiguousarray(centroids.T)
    halves = np.einsum("ij,ij->i", centroids, centroids) / 2
    step = max(_LEAST_BLOCK, _BLOCK_PRODUCTS // len(centroids))

    def of_block(start: int) -> NDArray[np.int32]:
        nearness = rows[start : start + step] @ across
        nearness -= halves
        found: NDArray[np.int32] = nearness.argmax(axis=1).astype(np.int32)
        return found

    return np.concatenate([np.zeros(0, np.int32), *on_every_core(of_block, range(0, len(rows), step))])


def project(rows: Float32Matrix, directions: Float32Matrix) -> Float32Matrix:
    """Coordinates of rows along directions, shape (rows, directions); block by block, however many threads."""
    across, found = np.ascontiguousarray(directions.T), np.empty((len(rows), len(directions)), np.float32)

    def of_block(start: int) -> None:
        np.matmul(rows[start : start + _BLOCK], across, out=found[start : start + _BLOCK])

    for _ in on_every_core(of_block, range(0, len(rows), _BLOCK)):
        pass
    return found


def means(rows: Float32Matrix, assigned: NDArray[np.int32], count: int) -> Float32Matrix:
    """The mean of the rows assigned to each of `count` centroids; zeros for one that has none."""
    order = np.argsort(assigned, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(assigned, minlength=count))])
    found, rows = np.zeros((count, rows.shape[1]), np.float32), np.ascontiguousarray(rows)
    bounds = np.linspace(0, count, min(_GROUPS, count) + 1).astype(int)

    def of_group(group: tuple[int, int]) -> None:
        first, last = group
        _kernels.means(rows, order, starts[first : last + 1], found[first:last])

    for _ in on_every_core(of_group, list(pairwise(bounds.tolist()))):
        pass
    return found


def neighbours(centroids: Float32Matrix) -> NDArray[np.int64]:
    """The nearest other centroid of each of at least one; its own number where there is no other."""
    found: NDArray[np.int64] = faiss.knn(centroids, centroids, min(2, len(centroids)))[1]
    own = found[:, 0] == np.arange(len(centroids))
    return np.where(own, found[:, -1], found[:, 0])


def squared_distances(query: NDArray[np.float32], points: Float32Matrix) -> NDArray[np.float32]:
    """From a query of shape (dimension,) to every point, shape (points,); infinite where float32 overflows.

    Raises ValueError when the query is of another dimension.
    """
    results = np.empty(len(points), np.float32)
    _kernels.squares(np.ascontiguousarray(query), np.ascontiguousarray(points), results)
    return results


class Sketch(NamedTuple):
    """What `_kernels.sketch_points` makes of points: a byte for each coordinate, and how far off it is."""

    levels: NDArray[np.uint8]
    known: NDArray[np.float64]


def sketch(points: Float32Matrix) -> Sketch | None:
    """A quarter of the memory of points, which tells most of those that are not near; None for wild points."""
    levels = np.empty((len(points), -(-points.shape[1] // _WIDTH) * _WIDTH), np.uint8)
    known = np.empty((len(points), 3))
    return Sketch(levels, known) if _kernels.sketch_points(np.ascontiguousarray(points), levels, known) else None


def nearest_points(
    query: NDArray[np.float32], points: Float32Matrix, margin: float, usual: float, sketched: Sketch | None = None
) -> tuple[NDArray[np.int64], float]:
    """Numbers of the points whose squared distances are at most a margin above the least, ascending; and that.

    From a distance of `usual` on, the margin grows in proportion to the least distance; not so when that is 0.

    Args:
        sketched: of the points: the answer is the same, and comes sooner.

    Raises ValueError when the query is of another dimension.
    """
    numbers = np.empty(len(points), np.int64)
    query, points = np.ascontiguousarray(query), np.ascontiguousarray(points)
    levels, known = sketched or (None, None)
    found, least = _kernels.nearest_points(query, points, margin, usual, numbers, levels, known)
    return numbers[:found], least


def inner_products(query: NDArray[np.float32], points: Float32Matrix) -> NDArray[np.float32]:
    """Of a query of shape (dimension,) and every point, shape (points,).

    By faiss, as fast as a BLAS product, which on a busy machine would wait a hundredfold for its threads.
    """
    query = np.ascontiguousarray(query, np.float32)
    points = np.ascontiguousarray(points, np.float32)
    if query.shape != points.shape[1:]:  # faiss takes bare addresses
        raise ValueError(f"a query of shape {query.shape} for points of shape {points.shape}")
    results: NDArray[np.float32] = np.empty(len(points), np.float32)
    pointers = map(faiss.swig_ptr, (results, query, points))
    faiss.fvec_inner_products_ny(*pointers, points.shape[1], len(points))
    return results
