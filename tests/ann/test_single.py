"""The contract on the partitioner with one partition."""

from __future__ import annotations

from ann.contract import PartitionerContract, gaussian
from quiver.ann.partitioners.single import Single


class TestSingle(PartitionerContract):
    partitioner = Single

    def test_there_is_one_partition_round_the_zero_vector(self):
        trained = Single.train(gaussian(100, 4), 50, 1)
        assert trained.count == 1
        assert trained.origin(0).tolist() == [0, 0, 0, 0]
