"""Tests of byte rows and their scores."""

from __future__ import annotations

import math

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ann.codec_contract import DIMENSIONS, squares
from ann.samples import TAME_SAMPLES, assert_hostile_states_are_refused, clustered, gaussian
from quiver.ann import _kernels
from quiver.ann.refiner import Refiner
from quiver.model.errors import CorruptObjectError


@TAME_SAMPLES
def test_scores_are_squared_distances_up_to_half_a_level(sample):
    refiner = Refiner.train(sample)
    codes = refiner.encode_rows(sample)
    assert (codes.shape, codes.dtype) == (sample.shape, np.uint8)
    for query in (sample[0], -sample[-1], np.zeros_like(sample[0])):
        scores = refiner.score(query, codes)
        assert (scores.shape, scores.dtype) == ((len(sample),), np.float32)
        moved = np.linalg.norm(refiner.width.astype(np.float64)) / 255 / 2
        gaps = np.sqrt(squares(query, sample))
        assert (np.abs(np.sqrt(scores) - gaps) <= moved * 1.02 + 1e-5 * (1 + gaps)).all()


@pytest.mark.parametrize("dimension", [1, 15, 16, 17, 384, 997])
@pytest.mark.parametrize("scale", [1e-30, 1, 1e9])
def test_levels_are_those_of_the_quantizer_of_faiss(dimension, scale):
    """Also outside of the range, at its ends, and where all rows of the sample are alike."""
    sample = gaussian(300, dimension) * np.float32(scale)
    sample[:, ::7] = sample[0, ::7]
    refiner = Refiner.train(sample)
    rows = np.concatenate([sample, 2 * sample, refiner.low[None], (refiner.low + refiner.width)[None]])
    quantizer = faiss.ScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_8bit)
    faiss.copy_array_to_vector(refiner.trained, quantizer.trained)
    assert np.array_equal(refiner.encode_rows(rows), quantizer.compute_codes(rows))
    assert np.array_equal(
        Refiner.decode(memoryview(refiner.encode()), dimension).encode_rows(rows[:9]),
        refiner.encode_rows(rows[:9]),
    )
    assert refiner.encode_rows(rows[:0]).shape == (0, dimension)


def test_what_is_no_number_is_at_the_lower_end():
    row = np.array([[np.nan, np.inf, -np.inf, 0.5] * 5], np.float32)
    levels = Refiner(np.zeros(20, np.float32), np.ones(20, np.float32)).encode_rows(row)
    assert levels.tolist() == [[0, 255, 0, 127] * 5]


@pytest.mark.parametrize("shapes", [((3, 9), 8, 9, (3, 9)), ((3, 9), 9, 8, (3, 9)), ((3, 9), 9, 9, (2, 9))])
def test_byte_rows_of_other_shapes_are_refused(shapes):
    rows, low, width = (np.zeros(shape, np.float32) for shape in shapes[:3])
    with pytest.raises(ValueError, match="do not fit"):
        _kernels.byte_rows(rows, low, width, np.zeros(shapes[3], np.uint8))


@DIMENSIONS
def test_the_nearest_rows_come_first(dimension):
    rows = clustered(620, dimension, 30)
    refiner, queries = Refiner.train(rows[20:]), rows[:20]
    codes, found = refiner.encode_rows(rows[20:]), []
    for query in queries:
        nearest = np.argsort(squares(query, rows[20:]))[:10]
        found.append(np.isin(nearest, np.argsort(refiner.score(query, codes), kind="stable")[:20]).mean())
    assert np.mean(found) >= 0.98


@pytest.mark.parametrize("spread", [1, 20], ids=["even", "uneven"])
def test_few_pairs_of_near_rows_are_farther_off_than_the_doubt_and_it_is_not_much_larger_than_need_be(spread):
    """Also where some coordinates are many times as wide as others."""
    widths = np.geomspace(1, spread, 64).astype(np.float32)
    rows = np.random.default_rng(7).normal(size=(4_000, 64)).astype(np.float32) * widths
    refiner, share = Refiner.train(rows), []
    codes = refiner.encode_rows(rows)
    for query in rows[:40] / 2:
        true = squares(query, rows)
        near = np.argsort(true)[:100]
        errors = refiner.score(query, codes[near]) - true[near]
        apart = np.abs(errors[:, None] - errors)[np.triu_indices(100, 1)]
        share.append(apart / (refiner.doubt * math.sqrt(true[near[-1]])))
    assert np.mean(np.array(share) > 1) < 1e-4
    assert np.mean(np.array(share) > 0.25) > 0.1  # one deviation of four: three in ten of what is normal


def test_there_is_no_doubt_about_rows_that_do_not_vary():
    assert Refiner.train(np.ones((5, 8), np.float32)).doubt == 0


def test_coordinates_that_do_not_vary_are_exact():
    rows = gaussian(50, 6)
    rows[:, 2], rows[:, 4] = 7.25, 0
    refiner = Refiner.train(rows)
    zero = np.zeros(6, np.float32)
    codes = refiner.encode_rows(rows[:1])
    lone = zero.copy()
    lone[2] = 7.25
    assert abs(refiner.score(zero, codes)[0] - refiner.score(lone, codes)[0] - 7.25**2) < 1e-4


def test_coordinates_outside_the_range_are_moved_to_its_ends():
    refiner = Refiner.train(np.array([[-1, 0], [1, 10]], np.float32))
    assert refiner.encode_rows(np.array([[-50, 50], [0, -1e9]], np.float32)).tolist() == [[0, 255], [127, 0]]


def test_no_rows_have_no_scores():
    refiner = Refiner.train(gaussian(10, 8))
    codes = refiner.encode_rows(gaussian(0, 8))
    assert (codes.shape, refiner.score(gaussian(1, 8)[0], codes).shape) == ((0, 8), (0,))


def test_codes_may_lie_anyhow_in_memory():
    rows, query = gaussian(40, 8), gaussian(1, 8, seed=1)[0]
    refiner = Refiner.train(rows)
    codes = refiner.encode_rows(rows)
    wanted = refiner.score(query, codes).tolist()
    assert refiner.score(query, np.repeat(codes, 2, axis=0)[::2]).tolist() == wanted
    assert refiner.score(np.repeat(query, 2)[::2], np.asfortranarray(codes)).tolist() == wanted
    assert refiner.encode_rows(np.asfortranarray(rows)).tobytes() == codes.tobytes()


def test_a_score_does_not_depend_on_the_rows_beside():
    rows, query = gaussian(40, 33), gaussian(1, 33, seed=1)[0]
    refiner = Refiner.train(rows)
    codes = refiner.encode_rows(rows)
    assert [float(refiner.score(query, codes[n : n + 1])[0]) for n in range(40)] == refiner.score(
        query, codes
    ).tolist()


def test_a_stored_refiner_is_the_same_one():
    rows, query = gaussian(40, 12), gaussian(1, 12, seed=1)[0]
    refiner = Refiner.train(rows)
    stored = Refiner.decode(memoryview(refiner.encode()), 12)
    codes = refiner.encode_rows(rows)
    assert stored.encode_rows(rows).tobytes() == codes.tobytes()
    assert stored.score(query, codes).tolist() == refiner.score(query, codes).tolist()
    assert stored.encode() == refiner.encode()


def test_hostile_state_is_refused():
    assert_hostile_states_are_refused(Refiner, Refiner.train(gaussian(50, 8)).encode())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -1e10])
def test_numbers_that_no_training_gives_are_refused(value):
    state = bytearray(Refiner.train(gaussian(50, 8)).encode())
    state[12:16] = np.float32(value).tobytes()
    with pytest.raises(CorruptObjectError):
        Refiner.decode(memoryview(bytes(state)), 8)


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_a_damaged_state_is_refused_or_that_of_another_refiner(data):
    rows = gaussian(20, 8)
    state = bytearray(Refiner.train(rows).encode())
    state[data.draw(st.integers(0, len(state) - 1))] = data.draw(st.integers(0, 255))
    try:
        damaged = Refiner.decode(memoryview(bytes(state)), 8)
    except CorruptObjectError:
        return
    assert np.isfinite(damaged.score(rows[0], damaged.encode_rows(rows))).all()


@given(st.integers(1, 40), st.integers(1, 45), st.integers(0, 1000))
@settings(max_examples=40)
def test_the_least_are_chosen_with_all_that_tie_with_the_last(rows, count, seed):
    values = np.random.default_rng(seed).integers(0, 5, (rows, 2)).astype(np.float32)
    refiner, query = Refiner.train(values), np.zeros(2, np.float32)
    codes = refiner.encode_rows(values)
    scores = refiner.score(query, codes)
    chosen, theirs = refiner.nearest_at(query, codes.reshape(-1), np.arange(rows) * 2, count)
    assert chosen.tolist() == np.flatnonzero(scores <= np.sort(scores)[min(count, rows) - 1]).tolist()
    assert theirs.tolist() == scores[chosen].tolist()


@given(st.integers(2, 40), st.integers(1, 20), st.integers(1, 20), st.integers(0, 1000))
@settings(max_examples=60)
def test_rows_that_are_hardly_near_enough_are_left_out(rows, count, near, seed):
    values = np.random.default_rng(seed).normal(size=(rows, 3)).astype(np.float32)
    refiner, query = Refiner.train(values), values[0]
    codes, count = refiner.encode_rows(values), min(count, rows)
    near = min(near, count)
    best, scores = refiner.nearest_at(query, codes.reshape(-1), np.arange(rows) * 3, count)
    last = float(np.sort(scores)[near - 1])
    kept = scores <= np.float32(last + refiner.doubt * math.sqrt(last))
    chosen, theirs = refiner.nearest_at(query, codes.reshape(-1), np.arange(rows) * 3, count, near)
    assert chosen.tolist() == best[kept].tolist()
    assert theirs.tolist() == scores[kept].tolist()


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_where_scores_are_no_numbers_all_are_chosen():
    wide = np.array([[-3e38], [3e38]], np.float32)
    refiner, codes = Refiner.train(wide), np.zeros(4, np.uint8)
    for near in (0, 1):
        assert refiner.nearest_at(wide[0], codes, np.arange(4), 2, near)[0].tolist() == [0, 1, 2, 3]
