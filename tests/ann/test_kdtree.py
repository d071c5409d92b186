"""The contract on kd-tree partitions, and what the tree does besides."""

from __future__ import annotations

import numpy as np
import pytest

from ann.partitioner_contract import DividingContract, members
from ann.samples import gaussian
from quiver.ann.partitioners.kdtree import KDTree
from quiver.model.errors import CorruptObjectError


class TestKDTree(DividingContract):
    partitioner = KDTree
    own_first = 0.3  # where magnitudes differ by twelve orders; else four fifths

    @pytest.mark.parametrize("count", [2, 8, 64])
    def test_leaves_of_a_power_of_two_are_equally_large(self, count):
        rows = gaussian(1000, 20)
        sizes = np.bincount(KDTree.train(rows, count, 1).assign(rows))
        assert len(sizes) == count
        assert sizes.max() - sizes.min() <= 1

    @pytest.mark.parametrize("count", [3, 7, 11, 100])
    def test_other_numbers_of_leaves_come_from_splitting_the_largest(self, count):
        rows = gaussian(1000, 20)
        sizes = np.bincount(KDTree.train(rows, count, 1).assign(rows))
        assert len(sizes) == count
        assert sizes.max() <= 2 * sizes.min() + 1

    def test_origins_are_the_means_of_the_leaves(self):
        rows = gaussian(500, 20)
        trained = KDTree.train(rows, 8, 1)
        for leaf in range(8):
            assert np.allclose(trained.origins[leaf], members(trained, rows, leaf).mean(axis=0), atol=1e-5)

    def test_a_leaf_is_ranked_by_its_box_and_its_mean(self):
        """Rows on a line: the boxes are its pieces, whose ends and means are known."""
        rows = np.arange(8, dtype=np.float32)[:, None]
        trained = KDTree.train(rows, 4, 1)
        order = np.argsort(trained.origins[:, 0])
        assert trained.origins[order, 0].tolist() == [0.5, 2.5, 4.5, 6.5]
        ranks = trained.rank(np.array([3], np.float32))[order]
        boxes = np.square([3 - 1.5, 0, 3.5 - 3, 5.5 - 3])
        means = np.square([2.5, 0.5, 1.5, 3.5])
        assert np.allclose(ranks, boxes + means / 2)

    def test_splits_follow_the_directions_of_largest_variance(self):
        rows = gaussian(2000, 50) * np.where(np.arange(50) == 17, 20, 1).astype(np.float32)
        trained = KDTree.train(rows, 2, 1)
        assert ((rows[:, 17] > np.median(rows[:, 17])) == trained.assign(rows)).mean() in (
            pytest.approx(1, abs=0.02),
            pytest.approx(0, abs=0.02),
        )

    def test_rows_that_differ_beside_the_known_directions_are_divided_too(self):
        sample, other = gaussian(200, 300), gaussian(1, 300, seed=5)
        sample[:, 150:] = 0
        other[:, :150] = 0
        trained = KDTree.train(sample, 8, 1)
        rows = sample[:1] + other * np.linspace(1, 2, 30, dtype=np.float32)[:, None]
        leaf = int(trained.assign(rows)[0])
        assert (trained.assign(rows) == leaf).all()
        divided = trained.divide(leaf, rows, 1)
        assert divided.side(leaf, 8, rows).sum() == 15
        self.assert_sound(divided, rows)
        self.assert_same(divided, self.decode(divided.encode(), 300), rows)

    def test_a_division_moves_no_row_of_another_leaf(self):
        rows = gaussian(500, 20)
        trained = KDTree.train(rows, 8, 1)
        before = trained.assign(rows)
        mine = rows[before == 3]
        divided = trained.divide(3, mine, 1)
        after = divided.assign(rows)
        assert after[before != 3].tolist() == before[before != 3].tolist()
        assert (after[before == 3] == 8).tolist() == divided.side(3, 8, mine).tolist()

    def test_leaves_that_are_not_halves_of_one_have_no_sides(self):
        rows = gaussian(500, 20)
        trained = KDTree.train(rows, 8, 1).divide(3, rows, 1)
        with pytest.raises(ValueError, match="not the halves"):
            trained.side(2, 8, rows)

    @pytest.mark.parametrize(
        ("children", "why"),
        [
            ([[0, ~0], [~1, ~2]], "not those of one tree"),
            ([[1, 1], [~0, ~1]], "not those of one tree"),
            ([[1, ~0], [1, ~1]], "not those of one tree"),
            ([[~0, ~1], [1, ~2]], "comes after its child"),
            ([[1, ~0], [~1, ~1]], "leaves are not the partitions"),
            ([[1, ~0], [~1, ~3]], "leaves are not the partitions"),
            ([[1, ~0], [~1, 2]], "not those of one tree"),
        ],
    )
    def test_states_that_are_no_tree_are_refused(self, children, why):
        state = KDTree.train(gaussian(50, 2), 3, 1).encode()
        broken = state[:-16] + np.array(children, "<i4").tobytes()
        with pytest.raises(CorruptObjectError, match=why):
            self.decode(broken, 2)

    def test_a_state_with_a_direction_that_is_not_there_is_refused(self):
        state = KDTree.train(gaussian(50, 2), 3, 1).encode()
        for direction in (2, -1):
            broken = state[:-32] + np.array([direction, 0], "<i4").tobytes() + state[-24:]
            with pytest.raises(CorruptObjectError, match="a direction that is not there"):
                self.decode(broken, 2)
