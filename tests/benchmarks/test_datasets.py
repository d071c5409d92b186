"""Generated data sets and exact neighbours of the benchmarks."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.datasets import clustered, draw, exact_distances, local_dimension, make_recipe, nearest, spectrum

from benchmarks import datasets


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QUIVER_BENCH_CACHE", str(tmp_path))


def test_a_generated_set_is_unit_rows_on_disk_and_the_same_again(tmp_path):
    made = clustered(1500, 32, seed=5, queries=20)
    assert made.rows.shape == (1500, 32)
    assert made.queries.shape == (20, 32)
    assert isinstance(made.rows, np.memmap)
    assert np.allclose(np.linalg.norm(made.rows, axis=1), 1, atol=1e-5)
    assert made.folder.parent == tmp_path
    assert clustered(1500, 32, seed=5).rows.filename == made.rows.filename


def test_chunks_are_drawn_apart_and_differ(monkeypatch):
    monkeypatch.setattr(datasets, "CHUNK", 400)
    made = clustered(1000, 16, seed=5)
    recipe = make_recipe(1000, 16, 5)
    for number, start in enumerate((0, 400, 800)):
        part = made.rows[start : start + 400]
        assert np.array_equal(part, draw(recipe, len(part), [5, number]))
    assert not np.array_equal(made.rows[:200], made.rows[400:600])


def test_another_seed_gives_other_rows_elsewhere():
    one, other = clustered(300, 16, seed=5), clustered(300, 16, seed=6)
    assert one.folder != other.folder
    assert not np.allclose(one.rows, other.rows)


def test_clusters_are_of_unequal_size_and_rows_near_their_centres():
    recipe = make_recipe(10_000, 64, 5)
    assert recipe.shares.sum() == pytest.approx(1)
    assert len(recipe.shares) == 100
    assert recipe.shares[0] / recipe.shares[-1] == pytest.approx((110 / 11) ** 0.9)
    assert (np.diff(recipe.shares) < 0).all()
    total = (recipe.centres**2).sum(axis=1).mean() + (recipe.deviations**2).sum()
    assert (recipe.deviations**2).sum() == pytest.approx(0.5, rel=1e-3)
    assert total == pytest.approx(1, rel=0.05)


def test_the_spectrum_decays():
    found = spectrum(clustered(4000, 384, seed=5).rows)
    assert 60 < found["participation ratio"] < 130
    assert found["first 10"] < found["first 50"] < found["first 100"] < 0.9


def test_the_participation_ratio_of_a_round_cloud_is_its_dimension():
    cloud = np.random.default_rng(1).normal(size=(20_000, 8))
    assert spectrum(cloud)["participation ratio"] == pytest.approx(8, rel=0.02)


def test_the_local_dimension_of_a_uniform_ball_is_its_dimension():
    radii = np.sort(np.random.default_rng(1).uniform(size=(500, 200)) ** (1 / 6), axis=1)
    assert local_dimension(radii[:, :100]) == pytest.approx(6, rel=0.1)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_neighbours_by_blocks_are_those_of_brute_force(metric, monkeypatch):
    monkeypatch.setattr(datasets, "CHUNK", 130)
    generator = np.random.default_rng(3)
    rows = generator.normal(size=(1000, 24)).astype(np.float32)
    queries = generator.normal(size=(7, 24)).astype(np.float32)
    found = nearest(rows, queries, metric, depth=15)
    for query, ids, distances in zip(queries, found.ids, found.distances, strict=True):
        truly = exact_distances(rows, query, metric)
        assert ids.tolist() == np.argsort(truly, kind="stable")[:15].tolist()
        assert np.array_equal(distances, truly[ids])


def test_equal_rows_are_ranked_by_their_number():
    rows = np.ones((50, 4), np.float32)
    assert nearest(rows, rows[:1], "euclidean", depth=10).ids[0].tolist() == list(range(10))


def test_neighbours_in_a_set_smaller_than_the_depth_are_padded():
    rows = np.eye(3, dtype=np.float32)
    found = nearest(rows, rows[:1], "cosine", depth=5)
    assert found.ids[0].tolist() == [0, 1, 2, -1, -1]
    assert found.distances[0].tolist() == [0, 1, 1, np.inf, np.inf]


def test_distances_are_those_of_s3_vectors():
    rows = np.array([[3, 4], [4, -3]], np.float32)
    query = np.array([3, 4], np.float32)
    assert exact_distances(rows, query, "cosine").tolist() == pytest.approx([0, 1])
    assert exact_distances(rows, query, "euclidean").tolist() == pytest.approx([0, 50**0.5])


def test_an_unknown_set_is_refused():
    with pytest.raises(ValueError, match="no data set 'glove'"):
        datasets.load("glove")
