"""What every partitioner and every codec does. Inherit the suites and name the class under test."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from quiver.ann.codec import Codec, score_of
from quiver.ann.distance import distances, norms
from quiver.model.errors import CorruptObjectError
from quiver.model.types import DistanceMetric

if TYPE_CHECKING:
    from quiver.ann.partitioner import Partitioner

METRICS = pytest.mark.parametrize("metric", list(DistanceMetric), ids=str)
HOSTILE = [b"\0", b"x", bytes(64), b"\xff" * 64, bytes(range(256)) * 16]
DIMENSIONS = [1, 2, 7, 64, 300]


def gaussian(rows: int, dimension: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)


def samples() -> dict[str, np.ndarray]:
    """Training sets a partitioner or codec has to survive."""
    return {
        "one row": gaussian(1, 8),
        "fewer rows than partitions": gaussian(3, 8),
        "copies of one row": np.repeat(gaussian(1, 8), 50, axis=0),
        "two directions": np.repeat(np.eye(2, 8, dtype=np.float32), 25, axis=0),
        "many rows": gaussian(500, 8),
        "dimension one": gaussian(100, 1),
        "huge": gaussian(60, 8) * np.float32(1e38 / 5),
        "tiny": gaussian(60, 8) * np.float32(1e-30),
        "mixed magnitudes": gaussian(60, 8) * np.logspace(-30, 30, 60, dtype=np.float32)[:, None],
    }


SAMPLES = pytest.mark.parametrize("sample", samples().values(), ids=samples().keys())


def assert_hostile_states_are_refused(kind, state):
    """`state` is what a `kind` trained on 8 dimensions stores."""
    broken = [*HOSTILE, state + b"\0", state[:-1]] if state else [*HOSTILE]
    for each in broken:
        with pytest.raises(CorruptObjectError):
            kind.decode(each, 8)
    if state:
        with pytest.raises(CorruptObjectError):
            kind.decode(state, 9)


class PartitionerContract:
    """Set `partitioner`."""

    partitioner: ClassVar[type[Partitioner]]

    def train(self, rows: np.ndarray, count: int = 8, seed: int = 1) -> Partitioner:
        return self.partitioner.train(rows, count, seed)

    @SAMPLES
    def test_every_row_is_assigned_to_a_partition(self, sample):
        trained = self.train(sample)
        assert trained.count >= 1
        assigned = trained.assign(sample)
        assert (assigned.shape, assigned.dtype) == ((len(sample),), np.int32)
        assert assigned.min() >= 0
        assert assigned.max() < trained.count
        assert trained.assign(sample[:0]).shape == (0,)

    @SAMPLES
    def test_probing_gives_distinct_partitions_and_in_the_end_all(self, sample):
        trained = self.train(sample)
        for query in (sample[0], -sample[-1], np.zeros(sample.shape[1], np.float32)):
            for limit in (1, 2, trained.count, trained.count + 5):
                probed = trained.probe(query, limit).tolist()
                assert len(probed) == len(set(probed)) == min(limit, trained.count)
                assert all(0 <= each < trained.count for each in probed)
            assert trained.probe(query, 2).tolist() == trained.probe(query, trained.count)[:2].tolist()

    @SAMPLES
    def test_the_partition_of_a_row_is_probed_first(self, sample):
        """Where rows tie for a partition, any of the tied may come first; so a third of the rows is enough."""
        trained = self.train(sample)
        first = np.array([trained.probe(row, 1)[0] for row in sample])
        assert (first == trained.assign(sample)).mean() > 1 / 3

    @SAMPLES
    def test_origins_are_points_and_no_more_than_there_are_partitions(self, sample):
        trained = self.train(sample)
        for partition in range(trained.count):
            origin = trained.origin(partition)
            assert (origin.shape, origin.dtype) == ((sample.shape[1],), np.float32)
            assert np.isfinite(origin).all()

    @SAMPLES
    def test_the_same_seed_gives_the_same_partitioner(self, sample):
        assert self.train(sample, seed=5).encode() == self.train(sample.copy(), seed=5).encode()

    @SAMPLES
    def test_assignment_does_not_depend_on_the_rows_beside(self, sample):
        trained = self.train(sample)
        alone = [int(trained.assign(sample[row : row + 1])[0]) for row in range(len(sample))]
        assert trained.assign(sample).tolist() == alone

    @SAMPLES
    def test_a_stored_partitioner_is_the_same_one(self, sample):
        trained = self.train(sample)
        stored = self.partitioner.decode(trained.encode(), sample.shape[1])
        assert stored.count == trained.count
        assert stored.assign(sample).tolist() == trained.assign(sample).tolist()
        for query in sample[:5]:
            assert stored.probe(query, 3).tolist() == trained.probe(query, 3).tolist()
        for partition in range(trained.count):
            assert stored.origin(partition).tobytes() == trained.origin(partition).tobytes()
        assert stored.encode() == trained.encode()

    def test_hostile_state_is_refused(self):
        assert_hostile_states_are_refused(self.partitioner, self.train(gaussian(200, 8)).encode())


class CodecContract:
    """Set `codec`. Scores are tested against `distances`; margins as the codec's `exact` claims."""

    codec: ClassVar[type[Codec]]
    outliers: ClassVar[float] = 0.05
    """Share of rows whose margin may fail, when the codec's margins are not proven."""

    def train(self, rows: np.ndarray, origin: np.ndarray | None = None, seed: int = 1) -> Codec:
        origin = np.zeros(rows.shape[1], np.float32) if origin is None else origin
        return self.codec.train(rows, np.broadcast_to(origin, rows.shape), seed)

    def check_scores(
        self, rows: np.ndarray, query: np.ndarray, metric: DistanceMetric, origin: np.ndarray | None = None
    ) -> None:
        """Estimate and margin hold the score: of each row when proven, else of all but the outliers."""
        origin = np.zeros(rows.shape[1], np.float32) if origin is None else origin
        trained = self.train(rows, origin)
        codes = trained.encode_rows(rows, origin)
        estimate, margin = trained.scorer(query, origin, metric)(codes, norms(rows))
        assert (estimate.shape, estimate.dtype) == (margin.shape, margin.dtype) == ((len(rows),), np.float32)
        assert not np.isnan(estimate).any()
        assert (margin >= 0).all()
        scores = np.array([score_of(each, metric) for each in distances(query, rows, metric).tolist()])
        low, high = estimate.astype(float) - margin, estimate.astype(float) + margin
        # A distance is rounded once, to float32; its square carries that rounding twice.
        rounding = scores * 2.0**-22 + np.finfo(np.float32).smallest_subnormal
        holds = (low <= scores + rounding) & (scores - rounding <= high)
        if self.codec.exact:
            assert holds.all(), (scores[~holds], estimate[~holds], margin[~holds])
        else:
            assert holds.mean() >= 1 - self.outliers

    @pytest.mark.parametrize("dimension", DIMENSIONS)
    def test_codes_have_the_promised_size(self, dimension):
        rows = gaussian(20, dimension)
        trained = self.train(rows)
        codes = trained.encode_rows(rows, np.zeros(dimension, np.float32))
        assert (codes.shape, codes.dtype) == ((20, trained.code_size), np.uint8)
        assert trained.encode_rows(rows[:0], rows[0]).shape == (0, trained.code_size)
        if self.codec.codes_are_rows:
            assert codes.tobytes() == rows.tobytes()

    @METRICS
    @SAMPLES
    def test_margins_hold_on_every_kind_of_rows(self, sample, metric):
        self.check_scores(sample, gaussian(1, sample.shape[1], seed=9)[0], metric)
        self.check_scores(sample, sample[0], metric)

    @METRICS
    @pytest.mark.parametrize("dimension", [*DIMENSIONS, 4096])
    def test_margins_hold_in_every_dimension(self, dimension, metric):
        rows = gaussian(40, dimension)
        self.check_scores(rows, gaussian(1, dimension, seed=3)[0], metric)
        self.check_scores(rows + np.float32(100), gaussian(1, dimension, seed=3)[0], metric)

    @METRICS
    def test_margins_hold_round_any_origin(self, metric):
        rows = gaussian(200, 16) + np.float32(3)
        self.check_scores(rows, rows[7], metric, origin=rows.mean(axis=0))

    @METRICS
    @given(data=st.data())
    @settings(max_examples=120, deadline=None)
    def test_margins_hold_for_wild_rows(self, metric, data):
        if not self.codec.exact:
            pytest.skip("margins that are not proven are tested on typical rows")
        dimension = data.draw(st.integers(1, 6))
        component = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.sampled_from(
            [0.0, 1.0, -1.0, 3.4028234663852886e38, 1e-45, 1e-30, 1e19, 1.0000001192092896]
        )
        matrix = arrays.arrays(np.float32, st.tuples(st.integers(2, 9), st.just(dimension)), elements=component)
        drawn = data.draw(matrix)
        if metric is DistanceMetric.COSINE:
            drawn = drawn[norms(drawn) > 0]
            if len(drawn) < 2:
                return
        self.check_scores(drawn[1:], drawn[0], metric)

    @METRICS
    def test_a_score_does_not_depend_on_the_norms_of_other_rows(self, metric):
        """Within the margins; what lies together in a partition may choose another path of computation."""
        rows = gaussian(30, 8)
        wild = np.concatenate([rows, rows[:1] * np.float32(1e30)])
        query, origin = gaussian(1, 8, seed=4)[0], np.zeros(8, np.float32)
        trained = self.train(rows)
        score = trained.scorer(query, origin, metric)
        tame = score(trained.encode_rows(rows, origin), norms(rows))
        mixed = score(trained.encode_rows(wild, origin), norms(wild))
        gap = np.abs(tame.estimate - mixed.estimate[:30])
        assert (gap <= tame.margin + mixed.margin[:30]).all()

    @METRICS
    def test_no_rows_have_no_scores(self, metric):
        rows = gaussian(5, 8)
        trained, origin = self.train(rows), np.zeros(8, np.float32)
        score = trained.scorer(rows[0], origin, metric)
        estimate, margin = score(np.zeros((0, trained.code_size), np.uint8), np.zeros(0, np.float32))
        assert (estimate.shape, margin.shape) == ((0,), (0,))

    def test_the_same_seed_gives_the_same_codec_and_codes(self):
        rows, origin = gaussian(200, 16), np.zeros(16, np.float32)
        one, other = self.train(rows, seed=5), self.train(rows.copy(), seed=5)
        assert one.encode() == other.encode()
        assert one.encode_rows(rows, origin).tobytes() == other.encode_rows(rows, origin).tobytes()

    def test_a_stored_codec_is_the_same_one(self):
        rows, origin = gaussian(200, 16), np.zeros(16, np.float32)
        trained = self.train(rows)
        stored = self.codec.decode(trained.encode(), 16)
        assert stored.code_size == trained.code_size
        codes = trained.encode_rows(rows, origin)
        assert stored.encode_rows(rows, origin).tobytes() == codes.tobytes()
        for metric in DistanceMetric:
            before = trained.scorer(rows[3], origin, metric)(codes, norms(rows))
            after = stored.scorer(rows[3], origin, metric)(codes, norms(rows))
            assert (before.estimate == after.estimate).all()
            assert (before.margin == after.margin).all()
        assert stored.encode() == trained.encode()

    def test_hostile_state_is_refused(self):
        assert_hostile_states_are_refused(self.codec, self.train(gaussian(200, 8)).encode())
