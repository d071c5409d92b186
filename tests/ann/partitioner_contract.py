"""What every partitioner does. Inherit the suite and name the class under test."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import faiss
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ann.samples import TAME_SAMPLES, assert_hostile_states_are_refused, clustered, gaussian, tame_samples
from quiver.model.errors import CorruptObjectError

if TYPE_CHECKING:
    from quiver.ann.partitioner import Partitioner

DIFFERENT = ["fewer rows than partitions", "many rows", "clusters", "a third of copies", "dimension one"]


def members(trained: Partitioner, rows: np.ndarray, partition: int) -> np.ndarray:
    return rows[trained.assign(rows) == partition]


def largest(trained: Partitioner, rows: np.ndarray) -> int:
    return int(np.bincount(trained.assign(rows)).argmax())


class PartitionerContract:
    """Set `partitioner`.

    Attributes:
        own_first: the least share of sample rows that rank their own partition first.
    """

    partitioner: ClassVar[type[Partitioner]]
    own_first: ClassVar[float] = 0.99

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _one_thread(cls):
        """Samples are small: on a busy machine threads would wait for each other most of the time."""
        before = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        yield
        faiss.omp_set_num_threads(before)

    def train(
        self, rows: np.ndarray, count: int = 8, seed: int = 1, start: np.ndarray | None = None
    ) -> Partitioner:
        return self.partitioner.train(rows, count, seed, start)

    def decode(self, state: bytes, dimension: int) -> Partitioner:
        return self.partitioner.decode(memoryview(state), dimension)

    def nearly_tied(self, trained: Partitioner, row: np.ndarray, one: int, other: int) -> bool:
        """Whether float32 may put the row into either partition, depending on the rows beside it."""
        return False

    def assert_same(self, one: Partitioner, other: Partitioner, rows: np.ndarray) -> None:
        assert one.count == other.count
        assert one.encode() == other.encode()
        assert one.origins.tobytes() == other.origins.tobytes()
        assert one.assign(rows).tolist() == other.assign(rows).tolist()
        for query in rows[:5]:
            assert one.rank(query).tobytes() == other.rank(query).tobytes()

    def assert_sound(self, trained: Partitioner, rows: np.ndarray) -> None:
        """Answers are of the right shape and in range."""
        count, dimension = trained.count, rows.shape[1]
        assert count >= 1
        assert (trained.origins.shape, trained.origins.dtype) == ((count, dimension), np.float32)
        assert np.isfinite(trained.origins).all()
        assigned = trained.assign(rows)
        assert (assigned.shape, assigned.dtype) == ((len(rows),), np.int32)
        assert assigned.min() >= 0
        assert assigned.max() < count
        for query in (*rows[:5], -rows[-1]):
            ranks = trained.rank(query)
            assert (ranks.shape, ranks.dtype) == ((count,), np.float32)
            assert np.isfinite(ranks).all()
            if trained.ranks_by_distance:
                assert np.allclose(ranks, np.square(trained.origins - query).sum(axis=1), rtol=1e-4, atol=1e-4)
            order = np.argsort(ranks, kind="stable")
            assert trained.nearest(query, 3).tolist() == order[:3].tolist()
            away = trained.within(query, 0.0)[1]
            due = np.linalg.norm(trained.origins[order[0]].astype(np.float64) - query)
            assert np.isclose(away, due, rtol=1e-3, atol=1e-3) or due > 1e19  # its square overflows
            for margin in (np.inf, 0.0, float(np.ptp(ranks)) / 8):
                few, many = (order[ranks[order] <= ranks.min() + np.float32(n * margin)].tolist() for n in (1, 4))
                near, distance = trained.within(query, margin)
                assert (near.tolist(), distance) == (few, away)
                assert trained.within(query, margin, 2 * away + 1)[0].tolist() == few
                if 0 < away < np.inf:
                    grown = trained.within(query, margin, away / 4)[0].tolist()
                    assert abs(len(grown) - len(many)) <= 1  # the product is rounded
                    assert grown == order[: len(grown)].tolist()

    @TAME_SAMPLES
    def test_rows_are_assigned_and_partitions_ranked(self, sample):
        trained = self.train(sample)
        assert trained.count <= 8
        self.assert_sound(trained, sample)
        assert trained.assign(sample[:0]).shape == (0,)
        assert trained.assign(sample[:0]).dtype == np.int32

    @TAME_SAMPLES
    def test_one_partition_holds_all_when_one_is_asked_for(self, sample):
        trained = self.train(sample, count=1)
        assert trained.count == 1
        assert not trained.assign(sample).any()
        middle = sample.mean(axis=0, dtype=float)
        assert np.abs(trained.origins[0] - middle).max() <= 1e-5 * np.abs(sample).max()

    @TAME_SAMPLES
    def test_no_trained_partition_is_empty_and_no_two_have_one_origin(self, sample):
        trained = self.train(sample)
        assert np.unique(trained.assign(sample)).tolist() == list(range(trained.count))
        assert len(np.unique(trained.origins, axis=0)) == trained.count

    @TAME_SAMPLES
    def test_origins_lie_in_the_middle_of_their_partitions(self, sample):
        """No origin is further from its rows, on the whole, than the mean of all rows is."""
        trained = self.train(sample)
        wide = sample.astype(float)
        spread = np.square(wide - wide.mean(axis=0)).sum()
        assert np.square(wide - trained.origins[trained.assign(sample)]).sum() <= spread * (1 + 1e-5) + 1e-9

    @TAME_SAMPLES
    def test_most_rows_rank_their_own_partition_first(self, sample):
        trained = self.train(sample)
        first = np.array([trained.rank(row).argmin() for row in sample])
        assert (first == trained.assign(sample)).mean() >= self.own_first

    def test_probing_all_partitions_reaches_every_row_once(self):
        rows = clustered(400, 16, 12)
        trained = self.train(rows)
        assigned = trained.assign(rows)
        order = np.argsort(trained.rank(rows[0]))
        probed = np.concatenate([np.flatnonzero(assigned == partition) for partition in order])
        assert np.sort(probed).tolist() == list(range(400))

    def test_partitions_ranked_first_hold_most_neighbours(self):
        rows, queries = np.split(clustered(2200, 24, 40, seed=3), [2000])
        trained = self.train(rows, count=32)
        nearest = np.argsort(np.square(rows[None] - queries[:, None]).sum(axis=2), axis=1)[:, :10]
        assigned = trained.assign(rows)
        found = [
            np.isin(assigned[ids], np.argsort(trained.rank(query))[:4]).mean()
            for query, ids in zip(queries, nearest, strict=True)
        ]
        # A random choice of an eighth of the partitions finds an eighth.
        assert np.mean(found) > 0.75

    @TAME_SAMPLES
    def test_the_same_seed_gives_the_same_partitioner(self, sample):
        self.assert_same(self.train(sample, seed=5), self.train(sample.copy(), seed=5), sample)

    @TAME_SAMPLES
    def test_rows_are_only_read(self, sample):
        rows = sample.copy()
        rows.flags.writeable = False
        self.assert_sound(self.train(rows, start=rows[:5]), rows)

    @TAME_SAMPLES
    @pytest.mark.parametrize("chosen", [slice(0, 1), slice(0, 5), slice(0, 20), slice(None)], ids=str)
    def test_earlier_origins_are_a_start_however_many(self, sample, chosen):
        trained = self.train(sample, start=sample[chosen] * np.float32(1.01))
        assert trained.count <= 8
        self.assert_sound(trained, sample)

    def test_origins_of_wild_rows_are_no_obstacle(self):
        rows = gaussian(100, 8)
        wild = np.full((2, 8), np.finfo(np.float32).max) * np.array([[1], [-1]], np.float32)
        self.assert_sound(self.train(rows, start=np.concatenate([wild, rows[:9]])), rows)
        self.assert_sound(self.train(rows, start=wild), rows)

    @TAME_SAMPLES
    def test_assignment_does_not_depend_on_the_rows_beside_but_for_near_ties(self, sample):
        trained = self.train(sample)
        together = trained.assign(sample).tolist()
        alone = [int(trained.assign(sample[row : row + 1])[0]) for row in range(len(sample))]
        for row, one, other in zip(sample, together, alone, strict=True):
            assert one == other or self.nearly_tied(trained, row, one, other)

    @pytest.mark.parametrize("skew", [0.0, 1.0, 1.5])
    def test_no_partition_is_over_four_times_the_mean(self, skew):
        rows = clustered(4000, 16, 50, skew=skew)
        trained = self.train(rows, count=32)
        sizes = np.bincount(trained.assign(rows), minlength=trained.count)
        assert sizes.max() <= 4 * sizes.mean()

    @TAME_SAMPLES
    def test_a_stored_partitioner_is_the_same_one(self, sample):
        trained = self.train(sample)
        self.assert_same(trained, self.decode(trained.encode(), sample.shape[1]), sample)

    def test_a_stored_partitioner_is_read_in_place_and_not_written(self):
        rows = gaussian(200, 8)
        state = bytearray(self.train(rows).encode())
        stored = self.partitioner.decode(memoryview(state), 8)
        assert np.shares_memory(stored.origins, np.frombuffer(state, np.uint8))
        assert not stored.origins.flags.writeable

    def test_a_state_may_lie_at_any_address(self):
        rows = gaussian(200, 8)
        trained = self.train(rows)
        moved = memoryview(b"x" + trained.encode())[1:]
        self.assert_same(trained, self.partitioner.decode(moved, 8), rows)

    def test_hostile_states_are_refused(self):
        state = self.train(gaussian(200, 8)).encode()
        assert_hostile_states_are_refused(self.partitioner, state)
        for length in range(len(state)):
            with pytest.raises(CorruptObjectError):
                self.decode(state[:length], 8)

    @given(data=st.data())
    @settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    def test_a_changed_state_is_refused_or_as_good_as_another(self, data):
        rows = gaussian(60, 3)
        state = bytearray(self.train(rows, count=5).encode())
        for _ in range(data.draw(st.integers(1, 4))):
            state[data.draw(st.integers(0, len(state) - 1))] = data.draw(st.integers(0, 255))
        try:
            changed = self.decode(bytes(state), 3)
        except CorruptObjectError:
            return
        self.assert_sound(changed, rows)
        assert changed.encode() == bytes(state)


class DividingContract(PartitionerContract):
    """For partitioners of more than one partition."""

    def test_copies_of_one_row_do_not_keep_others_together(self):
        copies = np.repeat(gaussian(1, 16, seed=1), 1200, axis=0)
        rows = np.concatenate([copies, clustered(2800, 16, 50, skew=1.0)])
        trained = self.train(rows, count=32)
        assigned = trained.assign(rows)
        assert len(np.unique(assigned[:1200])) == 1
        others = np.bincount(assigned[1200:], minlength=trained.count)
        assert others.max() <= 4 * len(rows) / trained.count
        assert trained.count > 16

    @pytest.mark.parametrize("name", DIFFERENT)
    def test_a_division_halves_one_partition_and_leaves_the_others(self, name):
        sample = tame_samples()[name]
        trained = self.train(sample, count=2)
        before = trained.assign(sample)
        partition = largest(trained, sample)
        mine = members(trained, sample, partition)
        divided = trained.divide(partition, mine, 3)
        assert divided.count == trained.count + 1
        others = np.arange(trained.count) != partition
        assert divided.origins[:-1][others].tobytes() == trained.origins[others].tobytes()
        halves = divided.side(partition, trained.count, mine)
        assert (halves.shape, halves.dtype) == ((len(mine),), np.bool_)
        assert halves.any()
        assert not halves.all()
        # Rows of other partitions, when assigned anew, go where they are, or into one of the halves.
        after = divided.assign(sample)
        assert ((after == before) | (before == partition) | np.isin(after, [partition, trained.count])).all()
        # The halves gather round their origins.
        mean = [mine[halves == side].mean(axis=0) for side in (False, True)]
        apart = np.linalg.norm(mean[1] - mean[0])
        assert np.linalg.norm(divided.origins[partition] - mean[0]) < apart / 2
        assert np.linalg.norm(divided.origins[trained.count] - mean[1]) < apart / 2
        assert trained.assign(sample).tolist() == before.tolist()

    def test_rows_can_be_divided_until_none_are_left_to_divide(self):
        rows = clustered(1500, 12, 5, skew=1.0)
        trained = self.train(rows, count=1)
        assigned = np.zeros(len(rows), np.int64)
        for number in range(1, 40):
            partition = int(np.bincount(assigned).argmax())
            mine = np.flatnonzero(assigned == partition)
            trained = trained.divide(partition, rows[mine], number)
            assigned[mine[trained.side(partition, number, rows[mine])]] = number
            assert 0 < (assigned == number).sum() < len(mine)
        assert trained.count == 40
        assert np.bincount(assigned).max() < 4 * len(rows) / 40
        self.assert_sound(trained, rows)
        self.assert_same(trained, self.decode(trained.encode(), 12), rows)
        assert (trained.assign(rows) == assigned).mean() > 1 / 2

    def test_dividing_equal_rows_leaves_them_together(self):
        rows = np.repeat(gaussian(1, 8), 50, axis=0)
        trained = self.train(rows)
        divided = trained.divide(0, rows, 3)
        assert divided.count == trained.count + 1
        assert len(set(divided.side(0, 1, rows).tolist())) == 1
        self.assert_sound(divided, rows)
        self.assert_same(divided, self.decode(divided.encode(), 8), rows)

    def test_the_same_seed_gives_the_same_division(self):
        rows = gaussian(500, 8)
        trained = self.train(rows)
        mine = members(trained, rows, 2)
        self.assert_same(trained.divide(2, mine, 4), trained.divide(2, mine.copy(), 4), rows)

    @TAME_SAMPLES
    def test_a_stored_partitioner_is_the_same_one_after_a_division(self, sample):
        trained = self.train(sample)
        divided = trained.divide(0, members(trained, sample, 0), 3)
        stored = self.decode(divided.encode(), sample.shape[1])
        self.assert_same(divided, stored, sample)
        sides = [each.side(0, trained.count, sample).tolist() for each in (divided, stored)]
        assert sides[0] == sides[1]
