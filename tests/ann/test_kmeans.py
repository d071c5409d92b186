"""The contract on k-means partitions, and what k-means does besides."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from ann.partitioner_contract import DividingContract
from ann.samples import TAME_SAMPLES, clustered, gaussian
from quiver.ann.partitioners import kmeans
from quiver.ann.partitioners.kmeans import KMeans
from quiver.ann.partitioners.lloyd import lloyd, pick_distinct


def squared_distances(rows: np.ndarray, origins: np.ndarray) -> np.ndarray:
    """In float64, shape (rows, origins)."""
    return np.square(rows[:, None].astype(float) - origins[None]).sum(axis=2)


def inertia(rows: np.ndarray, origins: np.ndarray) -> float:
    return float(squared_distances(rows, origins).min(axis=1).mean())


class TestKMeans(DividingContract):
    partitioner = KMeans

    def nearly_tied(self, trained, row, one, other):
        near, far = np.sort(squared_distances(row[None], trained.origins)[0, [one, other]])
        return far <= near * (1 + 1e-4)

    @TAME_SAMPLES
    def test_rows_belong_to_the_nearest_centroid_but_for_near_ties(self, sample):
        trained = KMeans.train(sample, 8, 1)
        exact = squared_distances(sample, trained.origins)
        chosen = exact[np.arange(len(sample)), trained.assign(sample)]
        # float32 rounds squared norms, so distances far smaller than the norms are told apart less well.
        rounding = 1e-6 * np.square(sample.astype(float)).sum(axis=1)
        assert (chosen <= exact.min(axis=1) * (1 + 1e-4) + rounding).all()

    def test_ranks_are_squared_distances_to_the_centroids(self):
        rows = gaussian(500, 40)
        trained = KMeans.train(rows, 16, 1)
        for query in gaussian(10, 40, seed=2):
            exact = squared_distances(query[None], trained.origins)[0]
            assert np.allclose(trained.rank(query), exact, rtol=1e-5)

    def test_any_number_of_threads_gives_the_same_centroids_and_assignment(self):
        rows = clustered(6000, 48, 60, skew=1.0)
        before = faiss.omp_get_max_threads()
        answers = []
        try:
            for threads in (1, 2, 3):
                faiss.omp_set_num_threads(threads)
                trained = KMeans.train(rows, 64, 1)
                answers.append((trained.encode(), trained.assign(rows).tobytes()))
        finally:
            faiss.omp_set_num_threads(before)
        assert answers[0] == answers[1] == answers[2]

    def test_training_leaves_the_threads_of_the_process_alone(self):
        before = faiss.omp_get_max_threads()
        trained = KMeans.train(gaussian(500, 8), 8, 1)
        trained.divide(0, trained.origins[:3], 1)
        assert faiss.omp_get_max_threads() == before

    def test_training_is_silent(self, capfd):
        KMeans.train(gaussian(40, 8), 30, 1)
        KMeans.train(gaussian(3, 8), 30, 1)
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize(("segments", "each"), [(2, 32), (4, 16), (4, 32), (8, 32)])
    def test_a_warm_start_is_as_good_in_three_iterations_as_a_cold_one_in_ten(self, segments, each, monkeypatch):
        """Segments of the same data, merged: their centroids are fewer than, as many as, or more than needed."""
        rows = clustered(8000, 32, 301, skew=0.5)
        parts = np.array_split(rows, segments)
        start = np.concatenate([KMeans.train(part, each, 1).origins for part in parts])
        cold = lloyd(rows, pick_distinct(rows, 64, 1), 10)
        runs = []
        monkeypatch.setattr(kmeans, "lloyd", lambda *given: runs.append(given[2]) or lloyd(*given))
        warm = KMeans.train(rows, 64, 1, start).origins
        assert max(runs[:2]) == 3
        assert inertia(rows, warm) < 1.02 * inertia(rows, cold)

    def test_a_start_that_is_the_answer_is_kept(self):
        rows = clustered(2000, 16, 10)
        centres = KMeans.train(rows, 10, 1).origins
        again = KMeans.train(rows, 10, 2, centres).origins
        assert inertia(rows, again) <= inertia(rows, centres) * (1 + 1e-6)

    def test_a_few_earlier_origins_are_filled_up_with_rows(self):
        rows = clustered(2000, 16, 10)
        assert KMeans.train(rows, 32, 1, rows[:3]).count == 32

    def test_copies_leave_room_for_as_many_partitions_as_asked_for(self):
        rows = np.concatenate([np.repeat(gaussian(1, 8, seed=1), 900, axis=0), gaussian(100, 8)])
        assert KMeans.train(rows, 20, 1).count >= 15

    def test_there_are_as_many_partitions_as_different_rows_if_no_more(self):
        rows = np.repeat(gaussian(5, 8), 40, axis=0)
        trained = KMeans.train(rows, 20, 1)
        assert trained.count == 5
        assert inertia(rows, trained.origins) < 1e-9

    def test_a_few_outliers_are_no_half(self):
        """Two means would part them from the rest, which would then be as large as before."""
        rows = np.concatenate([gaussian(1000, 8), gaussian(3, 8) + np.float32(1000)])
        trained = KMeans.train(rows, 1, 1).divide(0, rows, 1)
        assert 0.1 < trained.side(0, 1, rows).mean() < 0.9


class TestManyDimensions:
    """Rows of so many dimensions that they are clustered along some directions only."""

    DIMENSION = 2 * kmeans._DIRECTIONS + 30

    def rows(self, seed: int = 5) -> np.ndarray:
        """Clusters whose centres, and mostly their rows, lie across more directions than are looked along."""
        return clustered(3000, self.DIMENSION, 40, seed=seed)

    def test_centroids_are_as_good_as_those_of_whole_rows(self, monkeypatch):
        rows = self.rows()
        flat = KMeans.train(rows, 60, 1)
        monkeypatch.setattr(kmeans, "_DIRECTIONS", self.DIMENSION)
        whole = KMeans.train(rows, 60, 1)
        assert flat.origins.shape == (flat.count, self.DIMENSION)
        assert not np.array_equal(flat.origins, whole.origins)
        assert inertia(rows, flat.origins) < 1.03 * inertia(rows, whole.origins)

    def test_each_centroid_is_the_mean_of_rows_near_it(self):
        rows = self.rows()
        trained = KMeans.train(rows, 60, 1)
        assigned = trained.assign(rows)
        sizes = np.bincount(assigned, minlength=trained.count)
        assert sizes.min() > 0
        assert sizes.max() <= 4 * len(rows) / trained.count
        near = 0.05 * inertia(rows, trained.origins)
        for partition in range(trained.count):
            mean = rows[assigned == partition].mean(axis=0)
            assert np.square(mean - trained.origins[partition]).sum() < near

    def test_the_same_rows_give_the_same_centroids(self):
        rows = self.rows()
        assert KMeans.train(rows, 60, 1).encode() == KMeans.train(rows.copy(), 60, 1).encode()
        assert KMeans.train(rows, 60, 1).encode() != KMeans.train(rows, 60, 2).encode()

    def test_earlier_centroids_are_where_it_starts(self):
        rows = self.rows()
        first = KMeans.train(rows, 60, 1).origins
        warm, cold = KMeans.train(rows, 60, 2, first).origins, KMeans.train(rows, 60, 2).origins
        moved, apart = (np.median(squared_distances(origins, first).min(axis=1)) for origins in (warm, cold))
        assert inertia(rows, warm) <= 1.01 * inertia(rows, first)
        assert moved < 0.5 * apart

    def test_copies_of_few_rows_give_as_few_centroids_or_one_for_each_partition(self):
        rows = np.repeat(self.rows()[:3], 200, axis=0)
        trained = KMeans.train(rows, 20, 1)
        np.testing.assert_allclose(inertia(rows, trained.origins), 0, atol=1e-6)
        assert trained.count <= 20
