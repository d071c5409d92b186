"""Filters of the benchmarks: their selectivity, and the exact answers to them."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.datasets import clustered, exact_distances
from benchmarks.filters import SHARES, cases, choose_cells, labels, mask


def test_labels_have_exactly_their_shares():
    made = labels(100_000, np.random.default_rng(1))
    counts = np.bincount(made)
    assert counts.tolist() == [50_000, 10_000, 1000, 100, 10, 38_890]


def test_every_label_is_on_a_row_of_a_small_set():
    assert set(labels(100, np.random.default_rng(1)).tolist()) == {0, 1, 2, 3, 4, 5}


def test_a_mask_is_the_conjunction_of_its_conditions():
    table = {"label": np.array([0, 1, 2, 1]), "tenth": np.array([0, 0, 0, 5])}
    assert mask(table, {"label": [1, 2]}).tolist() == [False, True, True, True]
    assert mask(table, {"label": [1, 2], "tenth": [0]}).tolist() == [False, True, True, False]


@pytest.mark.parametrize(("wanted", "expected"), [(10, [2]), (14, [2]), (16, [0, 2]), (100, [0, 1, 2]), (0, [2])])
def test_cells_are_taken_in_order_until_their_rows_come_nearest_to_what_is_wanted(wanted, expected):
    assert choose_cells(np.array([10, 40, 10]), np.array([2, 0, 1]), wanted) == expected


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    pytest.importorskip("faiss")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUIVER_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield clustered(6000, 16, seed=5, queries=5)


def test_every_relation_has_every_share_and_about_as_many_matches(data):
    made = cases(data, 5)
    assert [(case.relation, case.share) for case in made] == [
        (relation, share) for relation in ("random", "near", "far") for share in SHARES
    ]
    for case in made:
        wanted = max(1, case.share * 6000)
        assert all(count <= max(3 * wanted, wanted + 40) for count in case.matches)
        if case.share >= 0.1:
            assert all(count >= wanted * 0.6 for count in case.matches)


def test_near_filters_let_the_nearest_rows_through_and_far_ones_do_not(data):
    by_name = {(case.relation, case.share): case for case in cases(data, 5)}
    for query in range(5):
        ten = [by_name[relation, 0.1].truth.distances[query, 9] for relation in ("near", "random", "far")]
        assert ten[0] < ten[1] < ten[2]


def test_the_truth_of_a_filter_is_brute_force_over_the_matching_rows(data):
    with np.load(data.folder / "columns.npz") as stored:
        table = {name: stored[name] for name in stored.files}
    for case in cases(data, 5):
        for query, filter_, ids, count in zip(
            data.queries, case.filters, case.truth.ids, case.matches, strict=True
        ):
            matching = np.flatnonzero(mask(table, filter_))
            assert len(matching) == count
            distances = exact_distances(data.rows[matching], query, "cosine")
            truly = matching[np.argsort(distances, kind="stable")[:100]]
            assert ids[ids >= 0].tolist() == truly.tolist()
