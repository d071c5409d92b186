"""A kd-tree over principal directions: a row belongs to the leaf it descends to, a query probes near leaves first.

Nodes are split at the median of the direction along which their rows vary most. On text embeddings, probing finds
a third to a half more neighbours by principal directions than by those of a random rotation.

Leaves are probed best first: by the squared distance from the query to the leaf's box, plus half of that to the
leaf's mean. Few directions bound a box, so that by the first alone many leaves nearly tie: the second part finds
as many neighbours in about two thirds of the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from quiver.ann.partitioner import Partitioner
from quiver.ann.partitioners.lloyd import inner_products, pick, squared_distances
from quiver.ann.partitioners.principal import principal_directions
from quiver.ann.partitioners.state import StateReader
from quiver.ann.partitioners.tree import Split, Tree, cut, grow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix

_ROWS_A_LEAF = 128
_LEAST_ROWS = 16_384
_DIRECTIONS = 32
_PULL = np.float32(0.5)
"""The share of the distance to the mean in a leaf's rank."""
_BLOCK = 4096


class KDTree(Partitioner):
    """Leaves of a kd-tree. Rows and queries are tame (`space.is_tame`).

    Args:
        origins: the mean of each leaf's sample rows.
        directions: orthogonal unit vectors, shape (m, dimension).
        tree: splits along those directions.
    """

    name: ClassVar[str] = "kdtree"

    def __init__(self, origins: Float32Matrix, directions: Float32Matrix, tree: Tree) -> None:
        self.origins = origins
        self._directions = directions
        self._tree = tree
        self._low, self._high = tree.boxes(len(directions))

    @classmethod
    def train(
        cls,
        rows: Float32Matrix,
        count: int,
        seed: int,
        start: Float32Matrix | None = None,  # noqa: ARG003 - medians are found as quickly without
    ) -> Self:
        rows = pick(rows, max(_LEAST_ROWS, count * _ROWS_A_LEAF), seed)
        directions = principal_directions(rows, _DIRECTIONS, seed)
        tree, leaf_of = grow(_project(rows, directions), _norms(rows), count)
        origins = [_mean(rows[leaf_of == leaf]) for leaf in range(tree.leaves)]
        return cls(np.stack(origins), directions, tree)

    def assign(self, rows: Float32Matrix) -> NDArray[np.int32]:
        return self._tree.descend(_project(rows, self._directions))

    def divide(self, partition: int, rows: Float32Matrix, seed: int) -> Self:
        directions, split = self._split(rows, seed)
        beyond = split.beyond(_project(rows, directions))
        first = _mean(rows[~beyond])
        second = _mean(rows[beyond]) if beyond.any() else first
        origins = np.concatenate([self.origins, second[None]])
        origins[partition] = first
        return type(self)(origins, directions, self._tree.with_split(partition, split))

    def _split(self, rows: Float32Matrix, seed: int) -> tuple[Float32Matrix, Split]:
        """A split of rows, and the directions with the one it is along."""
        known, norms = self._directions, _norms(rows)
        split = cut(_project(rows, known), norms)
        if split is not None:
            return known, split
        if len(known) < rows.shape[1]:  # they may differ in another direction
            more = principal_directions(rows, 1, seed, apart_from=known)
            directions = np.concatenate([known, more])
            split = cut(_project(rows, directions), norms)
            if split is not None:
                return directions, split
        return known, _empty_half(_project(rows, known))

    def side(self, first: int, second: int, rows: Float32Matrix) -> NDArray[np.bool_]:
        return self._tree.split_of(first, second).beyond(_project(rows, self._directions))

    def rank(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        """Squared distances to the boxes, and half of those to the means."""
        projected = inner_products(query, self._directions)
        gaps = np.minimum(np.maximum(projected, self._low), self._high)
        gaps -= projected
        ranks: NDArray[np.float32] = np.einsum("ij,ij->i", gaps, gaps)
        ranks += _PULL * squared_distances(query, self.origins)
        return ranks

    def encode(self) -> bytes:
        head = np.array([*self.origins.shape, len(self._directions)], "<i4")
        return b"".join([head.tobytes(), self.origins.tobytes(), self._directions.tobytes(), self._tree.encode()])

    @classmethod
    def decode(cls, state: memoryview, dimension: int) -> Self:
        reader = StateReader(state, cls.name)
        count, stored, directions = reader.integers(3).tolist()
        if count < 1 or stored != dimension or not 1 <= directions <= dimension:
            raise reader.refusal(f"{count} leaves of dimension {stored} in {directions} directions")
        origins = reader.floats(count, dimension)
        axes = reader.floats(directions, dimension, limit=2.0)
        tree = Tree.decode(reader, count, directions)
        reader.end()
        return cls(origins, axes, tree)


def _project(rows: Float32Matrix, directions: Float32Matrix) -> Float32Matrix:
    """Shape (rows, m). Summed in float64, so that equal rows are equal again in whatever batch they come."""
    across = directions.T.astype(np.float64)
    projected: Float32Matrix = np.empty((len(rows), len(directions)), np.float32)
    for at in range(0, len(rows), _BLOCK):
        projected[at : at + _BLOCK] = rows[at : at + _BLOCK] @ across
    return projected


def _norms(rows: Float32Matrix) -> NDArray[np.float32]:
    squares: NDArray[np.float32] = np.einsum("ij,ij->i", rows, rows)
    return np.sqrt(squares)


def _mean(rows: Float32Matrix) -> NDArray[np.float32]:
    mean: NDArray[np.float32] = rows.mean(axis=0, dtype=np.float64).astype("<f4")
    return mean


def _empty_half(projected: Float32Matrix) -> Split:
    """A split that leaves equal rows together, on its first side."""
    return Split(0, float(np.nextafter(projected[:, 0].max(), np.float32(np.inf))))
