"""Tests of the smaller kernels: norms, squared distances for ranking, and parts picked out of partitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ann.samples import gaussian
from quiver.ann import _kernels

FEW = settings(max_examples=60, deadline=None)
DIMENSIONS = st.one_of(st.integers(1, 100), st.sampled_from([384, 767, 768, 4096]))
SMALLEST, LARGEST = np.float32(1e-45), np.finfo(np.float32).max


@pytest.fixture(autouse=True)
def _fastest():
    yield
    _kernels.use_variant(_kernels.VARIANTS[-1])


@FEW
@given(DIMENSIONS, st.integers(0, 9999))
def test_a_norm_is_that_of_float64_and_a_unit_vector_has_norm_one(dimension, seed):
    vector, point = gaussian(1, dimension, seed=seed)[0], np.empty(dimension, np.float32)
    expected = np.linalg.norm(vector.astype(np.float64))
    assert _kernels.norm(vector) == pytest.approx(expected, rel=1e-14)
    assert _kernels.unit(vector, point) == _kernels.norm(vector)
    np.testing.assert_array_equal(point, (vector.astype(np.float64) / _kernels.norm(vector)).astype(np.float32))


@pytest.mark.parametrize("component", [SMALLEST, LARGEST, -LARGEST])
def test_a_norm_neither_vanishes_nor_overflows(component):
    vector = np.full(4096, component, np.float32)
    assert _kernels.norm(vector) == pytest.approx(64 * abs(float(component)))
    point = np.empty(4096, np.float32)
    _kernels.unit(vector, point)
    np.testing.assert_allclose(point, np.sign(component) / 64, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_norm_is_not_finite_when_a_component_is_not(bad):
    for place in (0, 5, 12):
        vector = np.ones(13, np.float32)
        vector[place] = bad
        assert not np.isfinite(_kernels.norm(vector))
    assert _kernels.norm(np.zeros(13, np.float32)) == 0


@FEW
@given(DIMENSIONS, st.integers(0, 20), st.integers(0, 9999))
def test_squares_are_those_of_float64_and_the_same_bytes_in_every_variant(dimension, count, seed):
    query, rows = gaussian(1, dimension, seed=seed)[0], gaussian(count, dimension, seed=seed + 1)
    found = set()
    for variant in _kernels.VARIANTS:
        _kernels.use_variant(variant)
        out = np.empty(count, np.float32)
        _kernels.squares(query, rows, out)
        found.add(out.tobytes())
    assert len(found) == 1
    np.testing.assert_allclose(out, np.square(rows.astype(float) - query).sum(axis=1), rtol=1e-5)


def test_arrays_that_do_not_fit_are_refused():
    row, rows = np.ones(8, np.float32), np.ones((3, 8), np.float32)
    for call in (
        lambda: _kernels.squares(row[:7], rows, np.empty(3, np.float32)),
        lambda: _kernels.squares(row, rows, np.empty(2, np.float32)),
        lambda: _kernels.unit(row, np.empty(7, np.float32)),
        lambda: _kernels.norm(row.astype(np.float64)),
    ):
        with pytest.raises(ValueError, match=r"fit|array"):
            call()
    with pytest.raises(TypeError):
        _kernels.norm([1.0])
    with pytest.raises(TypeError):
        _kernels.squares(row, rows)


class Partitions:
    """Partitions of rows with three parts each, the last of which is to be picked."""

    def __init__(self, sizes: list[int], before: int, numbers: int) -> None:
        self.before, self.ends = before, np.cumsum(sizes, dtype=np.int64)
        rows = int(self.ends[-1])
        self.parts = np.arange(rows * numbers, dtype=np.uint64).reshape(rows, numbers) + np.uint64(1 << 40)
        pieces, places = [b""], [0]
        for start, end in zip(self.ends - sizes, self.ends, strict=True):
            pieces.append(b"\xaa" * (before * int(end - start)) + self.parts[start:end].tobytes())
            places.append(places[-1] + len(pieces[-1]))
        self.data, self.places = np.frombuffer(b"".join(pieces), np.uint8), np.array(places, np.int64)

    def place_of(self, row: int) -> range:
        """Bytes of the part of a row."""
        owner = int(np.searchsorted(self.ends, row, "right"))
        end, width = int(self.places[owner + 1]), 8 * self.parts.shape[1]
        start = end - width * (int(self.ends[owner]) - row)
        return range(start, start + width)

    def pick(self, rows: list[int], marks: np.ndarray, **changed: object) -> np.ndarray | None:
        arrays = {name: changed.get(name, getattr(self, name)) for name in ("data", "places", "ends", "before")}
        out = np.zeros((self.parts.shape[1], len(rows)), np.uint64)
        picked = _kernels.pick_parts(
            arrays["data"],
            arrays["places"],
            arrays["ends"],
            marks,
            arrays["before"],
            np.array(rows, np.int64),
            out,
            changed.get("notes"),
            changed.get("start", 0),
        )
        return out.T if picked else None


@FEW
@given(st.data())
def test_parts_are_picked_from_marked_partitions_only(data):
    sizes = data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=8).filter(any))
    made = Partitions(sizes, data.draw(st.integers(0, 40)), data.draw(st.integers(1, 3)))
    marks = np.array(data.draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes))))
    rows = data.draw(st.lists(st.integers(-1, sum(sizes)), max_size=10))
    owners = np.searchsorted(made.ends, rows, "right")
    inside = all(0 <= row < sum(sizes) for row in rows)
    found = made.pick(rows, marks)
    if inside and marks[owners].all():
        np.testing.assert_array_equal(found, made.parts[rows])
    else:
        assert found is None


@FEW
@given(st.data())
def test_parts_are_picked_from_blocks_that_are_here_only(data):
    made = Partitions(data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=8)), 5, 2)
    marks, start, block = (
        np.ones(len(made.ends), bool),
        data.draw(st.integers(0, 99)),
        data.draw(st.integers(1, 99)),
    )
    count = (start + len(made.data)) // block + 1
    here = np.array(data.draw(st.lists(st.sampled_from([True] * 9 + [False]), min_size=count, max_size=count)))
    used, hot = np.zeros(count, np.int64), np.zeros(count, bool)
    rows = data.draw(st.lists(st.integers(0, int(made.ends[-1]) - 1), max_size=10))
    places = [start + place for row in rows for place in made.place_of(row)]
    needed = np.unique(np.array(places, np.int64) // block)
    notes = _kernels.take_notes(here, hot.copy(), used, hot, np.array([3, 1]), block)
    found = made.pick(rows, marks, notes=notes, start=start)
    if here[needed].all():
        np.testing.assert_array_equal(found, made.parts[rows])
        np.testing.assert_array_equal(np.flatnonzero(used == 3), needed)
    else:
        assert found is None


def test_parts_outside_the_data_are_not_read():
    made, marks = Partitions([2, 3], 8, 2), np.ones(2, bool)
    last = [4]
    assert made.pick(last, marks) is not None
    assert made.pick(last, marks, data=made.data[:-1]) is None
    for place in (-1, 1 << 62, len(made.data) + 1):
        assert made.pick(last, marks, places=np.array([0, place, 0])) is None
    assert made.pick(last, marks, ends=np.array([2, 1 << 60])) is None
    for changed in ({"before": -1}, {"start": -1}, {"start": 2**63 - 1}):
        with pytest.raises(ValueError, match="negative"):
            made.pick(last, marks, **changed)
    for changed in ({"before": 1 << 40}, {"places": made.places[:1]}):
        with pytest.raises(ValueError, match="fit"):
            made.pick(last, marks, **changed)
    with pytest.raises(ValueError, match="fit"):
        made.pick(last, marks[:1])
