"""A binary tree of splits along given directions, as arrays: descent, boxes, growth and its stored form."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.ann.partitioners.state import StateReader
    from quiver.model.types import Float32Matrix

_RESOLUTION = 1e-6
"""Rows nearer to each other than this share of their norms are one point to float32."""


class Split(NamedTuple):
    """A plane across a direction."""

    direction: int
    threshold: float

    def beyond(self, projected: Float32Matrix) -> NDArray[np.bool_]:
        """Which rows lie on the second side, the plane included."""
        second: NDArray[np.bool_] = projected[:, self.direction] >= np.float32(self.threshold)
        return second


class Tree:
    """Inner node i splits along `directions[i]` at `thresholds[i]`; every node comes before its children.

    Args:
        children: first and second child of each inner node, shape (nodes, 2): an inner node, or `~leaf`.
    """

    def __init__(
        self, directions: NDArray[np.int32], thresholds: NDArray[np.float32], children: NDArray[np.int32]
    ) -> None:
        self._directions = directions
        self._thresholds = thresholds
        self._children = children
        self.leaves = len(directions) + 1

    @classmethod
    def of_one_leaf(cls) -> Self:
        """The tree without a split."""
        return cls(np.zeros(0, "<i4"), np.zeros(0, "<f4"), np.zeros((0, 2), "<i4"))

    def with_split(self, leaf: int, split: Split) -> Self:
        """This tree with a leaf split in two: the first side keeps its number, the second has the last."""
        children = np.concatenate([self._children, np.array([[~leaf, ~self.leaves]], "<i4")])
        children[:-1][children[:-1] == ~leaf] = len(self._directions)
        directions = np.append(self._directions, np.int32(split.direction))
        return type(self)(directions, np.append(self._thresholds, np.float32(split.threshold)), children)

    def split_of(self, first: int, second: int) -> Split:
        """The split between two leaves. Raises ValueError unless they are the halves of one."""
        nodes = np.flatnonzero((self._children == (~first, ~second)).all(axis=1))
        if not len(nodes):
            raise ValueError(f"partitions {first} and {second} are not the halves of a division")
        return Split(int(self._directions[nodes[0]]), float(self._thresholds[nodes[0]]))

    def descend(self, projected: Float32Matrix) -> NDArray[np.int32]:
        """The leaf of each row, shape (rows,)."""
        at = np.full(len(projected), 0 if len(self._directions) else ~0, np.int32)
        inner = np.flatnonzero(at >= 0)
        while len(inner):
            nodes = at[inner]
            second = projected[inner, self._directions[nodes]] >= self._thresholds[nodes]
            at[inner] = self._children[nodes, second.astype(np.int8)]
            inner = inner[at[inner] >= 0]
        return ~at

    def boxes(self, directions: int) -> tuple[Float32Matrix, Float32Matrix]:
        """Least and greatest projection inside each leaf, infinite where unbounded, shape (leaves, directions)."""
        low = np.full((self.leaves, directions), -np.inf, np.float32)
        high = np.full_like(low, np.inf)
        nodes: NDArray[np.int32] = np.arange(min(1, self.leaves - 1), dtype=np.int32)
        below, above = low[: len(nodes)], high[: len(nodes)]
        while len(nodes):
            at, along, cuts = np.arange(len(nodes)), self._directions[nodes], self._thresholds[nodes]
            first_above, second_below = above.copy(), below.copy()
            first_above[at, along] = cuts
            second_below[at, along] = cuts
            reached = self._children[nodes].T.ravel()
            below, above = np.concatenate([below, second_below]), np.concatenate([first_above, above])
            ends = reached < 0
            low[~reached[ends]], high[~reached[ends]] = below[ends], above[ends]
            nodes, below, above = reached[~ends], below[~ends], above[~ends]
        return low, high

    def encode(self) -> bytes:
        """Directions, thresholds and children."""
        return self._directions.tobytes() + self._thresholds.tobytes() + self._children.tobytes()

    @classmethod
    def decode(cls, reader: StateReader, leaves: int, directions: int) -> Self:
        """Raises CorruptObjectError unless it is one tree with exactly these leaves."""
        nodes = leaves - 1
        along, thresholds, children = reader.integers(nodes), reader.floats(nodes), reader.integers(nodes, 2)
        if ((along < 0) | (along >= directions)).any():
            raise reader.refusal("a split along a direction that is not there")
        inner = children[children >= 0]
        if not np.array_equal(np.sort(inner), np.arange(1, max(1, nodes))):
            raise reader.refusal("its nodes are not those of one tree")
        if ((children >= 0) & (children <= np.arange(nodes)[:, None])).any():
            raise reader.refusal("a node that comes after its child")
        if nodes and not np.array_equal(np.sort(~children[children < 0]), np.arange(leaves)):
            raise reader.refusal("its leaves are not the partitions")
        return cls(along, thresholds, children)


def cut(projected: Float32Matrix, norms: NDArray[np.float32]) -> Split | None:
    """A split of rows, of these norms, near the median where they vary most; None when they do not differ."""
    direction = int(projected.var(axis=0, dtype=np.float64).argmax())
    values = np.sort(projected[:, direction])
    if float(values[-1]) - float(values[0]) <= _RESOLUTION * float(norms.max()):
        return None
    rises = 1 + np.flatnonzero(values[1:] > values[:-1])
    at = rises[np.abs(rises - len(values) // 2).argmin()]
    middle = np.float32((float(values[at - 1]) + float(values[at])) / 2)
    return Split(direction, float(middle if middle > values[at - 1] else values[at]))


def grow(projected: Float32Matrix, norms: NDArray[np.float32], count: int) -> tuple[Tree, NDArray[np.int32]]:
    """A tree of at most `count` leaves, the largest split first, and the leaf of each row."""
    tree, leaf_of = Tree.of_one_leaf(), np.zeros(len(projected), np.int32)
    waiting = [(-len(projected), 0)]
    while waiting and tree.leaves < count:
        _, leaf = heapq.heappop(waiting)
        members = np.flatnonzero(leaf_of == leaf)
        split = cut(projected[members], norms[members])
        if split is None:
            continue
        second = members[split.beyond(projected[members])]
        leaf_of[second] = tree.leaves
        heapq.heappush(waiting, (len(second) - len(members), leaf))
        heapq.heappush(waiting, (-len(second), tree.leaves))
        tree = tree.with_split(leaf, split)
    return tree, leaf_of
