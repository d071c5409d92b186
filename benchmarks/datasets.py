"""The data sets of the comparisons, real and generated, and their exact nearest neighbours, as memory maps.

Everything is written once to $QUIVER_BENCH_CACHE (default: a folder in the system's temporary directory):
`rows.npy` and `queries.npy` (float32) and `truth.npz` for each set. 1,000,000 x 768 takes 3.1 GB there and little
more memory than one chunk of 20,000 rows while it is made.

Run to see what a set is like: python -m benchmarks.datasets debian mnist clustered-20000x384
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks import common

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK = 20_000
DEPTH = 100
"""Nearest neighbours that the truth holds for each query."""
SEED = 20261

FIRST = re.compile(r"debian(?:-(\d+))?")
GENERATED = re.compile(r"clustered-(\d+)x(\d+)")


class Dataset(NamedTuple):
    """Rows and queries, float32 of shapes (n, dimension) and (queries, dimension); both may be memory maps."""

    name: str
    metric: str
    rows: np.ndarray
    queries: np.ndarray
    folder: Path

    @property
    def dimension(self) -> int:
        """Components of a vector."""
        return self.rows.shape[1]


class Truth(NamedTuple):
    """Exact neighbours, nearest first: ids int64 and float64 distances of shape (queries, depth); -1 pads ids."""

    ids: np.ndarray
    distances: np.ndarray


def load(name: str) -> Dataset:
    """A data set by name: `debian`, `debian-ROWS`, `mnist` or `clustered-ROWSxDIMENSION`; made on first use.

    Raises: FileNotFoundError when its source is not here, ValueError for an unknown name.
    """
    if match := FIRST.fullmatch(name):
        return debian(int(match[1] or 20_000))
    if name == "mnist":
        return mnist()
    if match := GENERATED.fullmatch(name):
        return clustered(int(match[1]), int(match[2]), SEED)
    raise ValueError(f"there is no data set {name!r}: debian, debian-ROWS, mnist, clustered-ROWSxDIMENSION")


def debian(rows: int = 20_000) -> Dataset:
    """Sentence embeddings of package descriptions: 20,000 x 384 or the first rows, cosine, 200 queries."""
    source = _source("debian")
    name = "debian" if rows >= 20_000 else f"debian-{rows}"
    return _stored(name, "cosine", lambda: (common.debian(source)[:rows], common.debian(source, "queries")))


def mnist() -> Dataset:
    """Pictures of digits: 60,000 x 784, euclidean, 1,000 queries."""
    source = _source("mnist")

    def read() -> tuple[np.ndarray, np.ndarray]:
        with np.load(source / "mnist784.npz") as stored:
            return stored["base"].astype(np.float32), stored["queries"].astype(np.float32)

    return _stored("mnist", "euclidean", read)


# ---------------------------------------------------------------- generated


class Recipe(NamedTuple):
    """What `clustered` draws from, in the basis of the principal components.

    Attributes:
        centres: float32 of shape (clusters, dimension).
        shares: a row's chance of belonging to each cluster.
        widths: each cluster's scale of the spread around its centre.
        deviations: standard deviations around a centre, by component.
        basis: an orthogonal matrix that turns components into coordinates.
    """

    centres: np.ndarray
    shares: np.ndarray
    widths: np.ndarray
    deviations: np.ndarray
    basis: np.ndarray


def clustered(rows: int, dimension: int, seed: int, queries: int = 200) -> Dataset:
    """A generated set that resembles text embeddings: unit rows in Gaussian clusters of unequal size, cosine.

    With component i from 1: the variance of the clusters' centres is proportional to (i + 10)^-0.8, that of rows
    around their centre to (i + 12)^-1.4, each half of the whole. There are sqrt(rows) clusters; the j-th biggest
    has a share proportional to (j + 10)^-0.9 of the rows, and a spread of its own (log-normal, 0.3). `describe`
    measures what comes out; at 384 components it is near Debian's embeddings:

        set                   participation ratio   first 10 / 50 / 100   local dimension
        debian, 20,000 rows   110                   0.21 / 0.54 / 0.74    19
        this, 20,000 rows      91   0.24 / 0.62 / 0.80    20
    """
    name = f"clustered-{rows}x{dimension}" + ("" if seed == SEED else f"-{seed}")
    recipe = make_recipe(rows, dimension, seed)
    folder = cache_folder() / name
    if not (folder / "queries.npy").exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / "rows.unfinished.npy"
        target = np.lib.format.open_memmap(unfinished, "w+", np.float32, (rows, dimension))
        for number, start in enumerate(range(0, rows, CHUNK)):
            part = target[start : start + CHUNK]
            part[:] = draw(recipe, len(part), [seed, number])
        target.flush()
        del target
        unfinished.rename(folder / "rows.npy")
        np.save(folder / "queries.npy", draw(recipe, queries, [seed, 2**31]))
    return _opened(name, "cosine", folder)


def make_recipe(rows: int, dimension: int, seed: int) -> Recipe:
    """The distribution that `clustered` describes."""
    generator = np.random.default_rng(seed)
    count = max(8, int(rows**0.5))
    component = np.arange(1, dimension + 1)
    between, within = (component + 10.0) ** -0.8, (component + 12.0) ** -1.4
    between, within = between / between.sum() / 2, within / within.sum() / 2
    shares = (np.arange(count) + 11.0) ** -0.9
    return Recipe(
        (generator.normal(size=(count, dimension)) * np.sqrt(between)).astype(np.float32),
        shares / shares.sum(),
        generator.lognormal(0, 0.3, count).astype(np.float32),
        np.sqrt(within).astype(np.float32),
        np.linalg.qr(generator.normal(size=(dimension, dimension)))[0].astype(np.float32),
    )


def draw(recipe: Recipe, count: int, seed: list[int]) -> np.ndarray:
    """Unit rows, float32 of shape (count, dimension); the same for the same seed."""
    generator = np.random.default_rng(seed)
    cluster = generator.choice(len(recipe.shares), count, p=recipe.shares)
    made = generator.standard_normal((count, len(recipe.deviations)), dtype=np.float32)
    made *= recipe.deviations
    made *= recipe.widths[cluster, None]
    made += recipe.centres[cluster]
    made = made @ recipe.basis
    return made / np.linalg.norm(made, axis=1, keepdims=True)


# ---------------------------------------------------------------- truth


def truth(data: Dataset) -> Truth:
    """The exact nearest rows of every query, stored beside the data."""
    path = data.folder / "truth.npz"
    if not path.exists():
        found = nearest(data.rows, data.queries, data.metric)
        np.savez(path, ids=found.ids, distances=found.distances)
    with np.load(path) as stored:
        return Truth(stored["ids"], stored["distances"])


def nearest(rows: np.ndarray, queries: np.ndarray, metric: str, depth: int = DEPTH) -> Truth:
    """Exact neighbours by float32 blocks, ranked again in float64 among twice as many; ties by row number."""
    keep = min(2 * depth, len(rows))
    best_scores = np.full((len(queries), 0), np.inf, np.float32)
    best_ids = np.zeros((len(queries), 0), np.int64)
    for start, scores in score_blocks(rows, queries, metric):
        ids = np.broadcast_to(np.arange(start, start + scores.shape[1]), scores.shape)
        all_scores, all_ids = np.hstack([best_scores, scores]), np.hstack([best_ids, ids])
        chosen = np.argpartition(all_scores, min(keep, all_scores.shape[1]) - 1, axis=1)[:, :keep]
        best_scores, best_ids = (np.take_along_axis(a, chosen, 1) for a in (all_scores, all_ids))
    ranked = [rank(rows, ids, query, metric, depth) for ids, query in zip(best_ids, queries, strict=True)]
    return Truth(np.stack([r.ids for r in ranked]), np.stack([r.distances for r in ranked]))


def score_blocks(rows: np.ndarray, queries: np.ndarray, metric: str) -> Iterator[tuple[int, np.ndarray]]:
    """First row number, and float32 scores of shape (queries, block) that order like distances."""
    for start in range(0, len(rows), CHUNK):
        block = np.asarray(rows[start : start + CHUNK])
        dots = queries @ block.T
        if metric == "cosine":
            yield start, -dots / np.maximum(np.linalg.norm(block, axis=1), 1e-30)
        else:
            yield start, np.einsum("ij,ij->i", block, block) - 2 * dots


def rank(rows: np.ndarray, ids: np.ndarray, query: np.ndarray, metric: str, depth: int) -> Truth:
    """The nearest of the rows `ids`, in float64; padded to `depth` with id -1 at infinity."""
    distances = exact_distances(rows[np.sort(ids)], query, metric)
    order = np.argsort(distances, kind="stable")[:depth]
    missing = depth - len(order)
    return Truth(
        np.pad(np.sort(ids)[order], (0, missing), constant_values=-1),
        np.pad(distances[order], (0, missing), constant_values=np.inf),
    )


def exact_distances(rows: np.ndarray, query: np.ndarray, metric: str) -> np.ndarray:
    """Float64 distances of n rows: 1 - cos, or the root of the squared differences."""
    rows, query = rows.astype(np.float64), query.astype(np.float64)
    if metric == "cosine":
        norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(query)
        return 1 - rows @ query / np.maximum(norms, 1e-300)
    return np.linalg.norm(rows - query, axis=1)


# ---------------------------------------------------------------- what a set is like


def spectrum(rows: np.ndarray) -> dict[str, float]:
    """Participation ratio of the covariance's eigenvalues, and their share of variance in the first components."""
    values = np.linalg.eigvalsh(np.cov(rows.astype(np.float64), rowvar=False))[::-1]
    shares = {f"first {n}": float(values[:n].sum() / values.sum()) for n in (10, 50, 100) if n < len(values)}
    return {"participation ratio": float(values.sum() ** 2 / (values**2).sum()), **shares}


def local_dimension(distances: np.ndarray) -> float:
    """Median over queries of the maximum-likelihood intrinsic dimension at the neighbours' distances.

    Cosine distances grow with the square of the angle: pass their roots.
    """
    radii = np.maximum(distances, 1e-12)
    return float(np.median(-1 / np.mean(np.log(radii[:, :-1] / radii[:, -1:]), axis=1)))


def describe(data: Dataset) -> dict[str, object]:
    """Size, spectrum of a sample, and local intrinsic dimension at the queries."""
    sample = np.asarray(data.rows[:: max(1, len(data.rows) // CHUNK)])
    found = truth(data).distances
    return {
        "data": data.name,
        "shape": list(data.rows.shape),
        "metric": data.metric,
        **{name: round(value, 3) for name, value in spectrum(sample).items()},
        "local dimension": round(local_dimension(np.sqrt(found) if data.metric == "cosine" else found), 1),
        "nearest / 100th distance": round(float(np.median(found[:, 0] / found[:, -1])), 3),
    }


# ---------------------------------------------------------------- storage


def cache_folder() -> Path:
    """Where data sets are kept between runs: $QUIVER_BENCH_CACHE, or a folder in the temporary directory."""
    default = Path(tempfile.gettempdir()) / "quiver-bench-cache"
    folder = Path(os.environ.get("QUIVER_BENCH_CACHE") or default)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _source(name: str) -> Path:
    folder = common.data_folder(name)
    if folder is None:
        raise FileNotFoundError(f"the data set {name} is not here (QUIVER_BENCH_DATA)")
    return folder


def _stored(name: str, metric: str, read: Callable[[], tuple[np.ndarray, np.ndarray]]) -> Dataset:
    folder = cache_folder() / name
    if not (folder / "queries.npy").exists():
        folder.mkdir(parents=True, exist_ok=True)
        rows, queries = read()
        np.save(folder / "rows.npy", rows)
        np.save(folder / "queries.npy", queries)
    return _opened(name, metric, folder)


def _opened(name: str, metric: str, folder: Path) -> Dataset:
    return Dataset(
        name, metric, np.load(folder / "rows.npy", mmap_mode="r"), np.load(folder / "queries.npy"), folder
    )


def main() -> None:
    """Describe the named sets."""
    for name in sys.argv[1:] or ["debian", "mnist", "clustered-20000x384"]:
        common.show(describe(load(name)))


if __name__ == "__main__":
    main()
