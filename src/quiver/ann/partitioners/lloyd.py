"""Lloyd's k-means iterations, and distances to centroids, by faiss.

The same input gives the same centroids on as many threads: faiss sums each centroid's rows in row order, whichever
thread does it, and takes the first of equally near centroids, so that only its choice of the first centroids is
random: these are given here. On another number of threads BLAS may round differently, and tell nearly equal
distances apart differently.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import faiss
import numpy as np

from quiver.ann import _kernels
from quiver.model.threads import on_every_core

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix


_BLOCK = 4096


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
        whole = candidates.view(np.dtype((np.void, candidates.shape[1] * 4)))[:, 0]
        first = np.unique(whole, return_index=True)[1]
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
    clustering = faiss.Clustering(rows.shape[1], len(centroids))
    clustering.niter = iterations
    clustering.min_points_per_centroid = 1  # or faiss warns on standard error
    clustering.max_points_per_centroid = len(rows)  # the sample is the caller's
    faiss.copy_array_to_vector(np.ascontiguousarray(centroids).ravel(), clustering.centroids)
    clustering.train(rows, faiss.IndexFlatL2(rows.shape[1]))
    trained: Float32Matrix = faiss.vector_to_array(clustering.centroids).reshape(centroids.shape)
    return trained


def nearest(rows: Float32Matrix, centroids: Float32Matrix) -> NDArray[np.int32]:
    """The nearest centroid of each row, the first of those equally near, shape (rows,).

    As fast as blocks of BLAS products and as exact: nearly equal distances may be told apart differently in
    another batch.
    """
    if not len(rows):
        return np.zeros(0, np.int32)
    found: NDArray[np.int32] = faiss.knn(rows, centroids, 1)[1][:, 0].astype(np.int32)
    return found


def project(rows: Float32Matrix, directions: Float32Matrix) -> Float32Matrix:
    """Coordinates of rows along directions, shape (rows, directions); block by block, however many threads."""
    across = np.ascontiguousarray(directions.T)
    blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    none = np.zeros((0, len(directions)), np.float32)
    return np.concatenate([none, *on_every_core(lambda block: block @ across, blocks)])


def means(rows: Float32Matrix, assigned: NDArray[np.int32], count: int) -> Float32Matrix:
    """The mean of the rows assigned to each of `count` centroids, of which every one has some."""
    ends = np.cumsum(np.bincount(assigned, minlength=count))
    members = np.split(np.argsort(assigned, kind="stable"), ends[:-1])
    return np.stack([rows[some].mean(axis=0, dtype=np.float64) for some in members]).astype("<f4")


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


def nearest_points(
    query: NDArray[np.float32], points: Float32Matrix, limit: int, margin: float
) -> NDArray[np.int64]:
    """Numbers of at most `limit` points whose squared distances are at most `margin` above the least, ascending.

    Raises ValueError when the query is of another dimension.
    """
    numbers = np.empty(min(limit, len(points)), np.int64)
    query, points = np.ascontiguousarray(query), np.ascontiguousarray(points)
    return numbers[: _kernels.nearest_points(query, points, margin, numbers)]


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
