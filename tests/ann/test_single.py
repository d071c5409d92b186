"""The contract on the partitioner with one partition."""

from __future__ import annotations

import numpy as np
import pytest

from ann.partitioner_contract import PartitionerContract
from ann.samples import SAMPLES, gaussian
from quiver.ann.partitioners.single import Single
from quiver.model.errors import CorruptObjectError


class TestSingle(PartitionerContract):
    partitioner = Single

    def test_partitions_ranked_first_hold_most_neighbours(self):
        assert Single.train(gaussian(100, 4), 50, 1).rank(gaussian(1, 4)[0]).tolist() == [0]

    def test_there_is_one_partition_round_the_mean_of_the_rows(self):
        rows = np.array([[1, 2], [3, 4], [5, 12]], np.float32)
        trained = Single.train(rows, 50, 1)
        assert trained.count == 1
        assert trained.origins.tolist() == [[3, 6]]

    @SAMPLES
    def test_rows_of_any_magnitude_have_a_finite_origin(self, sample):
        trained = Single.train(sample, 8, 1)
        self.assert_sound(trained, sample)
        assert (trained.origins[0] >= sample.min(axis=0)).all()
        assert (trained.origins[0] <= sample.max(axis=0)).all()
        self.assert_same(trained, self.decode(trained.encode(), sample.shape[1]), sample)

    def test_the_mean_of_the_largest_rows_is_not_infinite(self):
        rows = np.full((70_000, 1), np.finfo(np.float32).max)
        assert Single.train(rows, 1, 1).origins.tolist() == [[np.finfo(np.float32).max]]

    @pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
    def test_an_origin_that_is_no_number_is_refused(self, number):
        with pytest.raises(CorruptObjectError):
            self.decode(np.array([1, number], np.float32).tobytes(), 2)

    def test_it_is_never_divided(self):
        rows = gaussian(10, 4)
        trained = Single.train(rows, 1, 1)
        with pytest.raises(ValueError, match="cannot be divided"):
            trained.divide(0, rows, 1)
        with pytest.raises(ValueError, match="no sides"):
            trained.side(0, 1, rows)
