"""Tests of the C kernels: against NumPy in float64, against each other, and that they refuse bad input."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ann.samples import gaussian
from quiver.ann import _kernels
from quiver.ann.codecs.rabitq import in_blocks
from quiver.ann.rotation import Rotation, _hartley

DIMENSIONS = st.one_of(
    st.integers(1, 200), st.sampled_from([255, 256, 257, 384, 511, 768, 1000, 1536, 4095, 4096])
)
SEEDS = st.integers(0, 2**32 - 1)
LEVELS = 15  # a query's greatest coordinate, in the steps that it is rounded to
FEW = settings(max_examples=60, deadline=None)


@pytest.fixture(autouse=True)
def _fastest():
    yield
    _kernels.use_variant(_kernels.VARIANTS[-1])


class Codes(NamedTuple):
    """The arguments of a scan, all rows allowed and wanted, and what they were made from."""

    query: np.ndarray
    origins: np.ndarray
    buffer: np.ndarray
    offsets: np.ndarray
    ends: np.ndarray
    signs: np.ndarray
    factors: np.ndarray

    def scan(self, partitions=None, limit=None, allowed=None) -> tuple[np.ndarray, np.ndarray]:
        partitions = np.arange(len(self.ends)) if partitions is None else np.array(partitions, np.int64)
        limit = int(self.ends[-1]) if limit is None else limit
        rows, scores = np.full(limit, -7, np.int64), np.full(limit, np.nan, np.float32)
        found = _kernels.rabitq_scan(
            self.query, self.origins, self.buffer, self.offsets, self.ends, partitions, allowed, rows, scores
        )
        assert (rows[found:] == -7).all()
        return rows[:found], scores[:found]

    def model(self, partitions=None) -> dict[int, tuple[float, float]]:
        """Score of each row, and how far it may be off for float32's sake, from the formula in scan.h."""
        scores = {}
        dimension = len(self.query)
        for number in range(len(self.ends)) if partitions is None else partitions:
            rows = slice(int(self.ends[number - 1]) if number else 0, int(self.ends[number]))
            placed = (self.query - self.origins[number]).astype(np.float64)
            peak = np.abs(placed).max()
            step = peak / LEVELS
            level = np.clip(np.floor(placed / (2 * step) + 8) * 2 - LEVELS, -LEVELS, LEVELS) if peak else placed
            along = (2.0 * self.signs[rows] - 1) @ (level * step)
            squares, factors = self.factors[rows].astype(np.float64).T
            across = 2 * factors / np.sqrt(dimension)
            estimate = squares + placed @ placed - across * along
            # A coordinate that lies on the border of two levels may fall on either side.
            doubtful = np.abs(placed / (2 * step) - np.rint(placed / (2 * step))) < 1e-4 if peak else placed > 0
            slack = 1e-5 * (squares + placed @ placed + np.abs(across) * dimension * peak)
            slack += np.abs(across) * 2 * step * doubtful.sum()
            here = range(rows.start, rows.stop)
            scores |= dict(zip(here, zip(estimate.tolist(), slack.tolist(), strict=True), strict=True))
        return scores


def made(dimension: int, sizes: list[int], seed: int, scale: float = 1.0) -> Codes:
    rng, rows = np.random.default_rng(seed), sum(sizes)
    signs = rng.integers(0, 2, (rows, dimension)).astype(np.uint8)
    factors = (rng.uniform(0.1, 2, (rows, 2)) * [scale * scale, scale]).astype(np.float32)
    codes = np.concatenate(
        [np.packbits(signs, axis=1, bitorder="little"), factors.view(np.uint8).reshape(rows, 8)], axis=1
    )
    ends, written, offsets = np.cumsum(sizes, dtype=np.int64), b"", []
    for size, end in zip(sizes, ends.tolist(), strict=True):
        written += b"\xff" * (-len(written) % 8)
        offsets.append(len(written))
        written += in_blocks(codes[end - size : end]).tobytes()
    query = (rng.normal(size=dimension) * scale).astype(np.float32)
    origins = (rng.normal(size=(len(sizes), dimension)) * scale / 2).astype(np.float32)
    return Codes(query, origins, np.frombuffer(written, np.uint8), np.array(offsets), ends, signs, factors)


# ---------------------------------------------------------------- scan


@given(
    dimension=DIMENSIONS,
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    seed=SEEDS,
    scale=st.sampled_from([1e-12, 1e-3, 1.0, 1e9]),
)
@FEW
def test_a_scan_computes_the_estimate_of_every_row(dimension, sizes, seed, scale):
    codes = made(dimension, sizes, seed, scale)
    rows, scores = codes.scan()
    model = codes.model()
    assert sorted(rows.tolist()) == sorted(model)
    assert list(zip(scores.tolist(), rows.tolist(), strict=True)) == sorted(
        zip(scores.tolist(), rows.tolist(), strict=True)
    )
    for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
        wanted, slack = model[row]
        assert abs(score - wanted) <= slack


@given(data=st.data(), dimension=DIMENSIONS, seed=SEEDS)
@FEW
def test_partitions_limits_and_masks_choose_among_all_estimates(data, dimension, seed):
    sizes = data.draw(st.lists(st.integers(0, 300), min_size=1, max_size=4))
    codes, rng = made(dimension, sizes, seed), np.random.default_rng(seed)
    partitions = data.draw(st.lists(st.integers(0, len(sizes) - 1), unique=True))
    allowed = rng.random(sum(sizes)) < data.draw(st.sampled_from([0.0, 0.02, 0.5, 1.0]))
    limit = data.draw(st.integers(0, sum(sizes) + 2))
    rows, scores = codes.scan()
    owners = np.repeat(np.arange(len(sizes)), sizes)
    kept = np.isin(owners[rows], partitions) & allowed[rows]
    found = codes.scan(partitions, limit, allowed)
    assert found[0].tolist() == rows[kept][:limit].tolist()
    assert found[1].tolist() == scores[kept][:limit].tolist()


def test_rows_with_equal_codes_come_in_the_order_of_their_numbers():
    codes = made(16, [50], 1)
    buffer = codes.buffer.copy()
    buffer[: 64 * 10] = in_blocks(np.tile(np.arange(10, dtype=np.uint8), (64, 1)))
    rows, scores = codes._replace(buffer=buffer).scan(limit=20)
    assert (rows.tolist(), len(set(scores.tolist()))) == (list(range(20)), 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_numbers_that_are_none_are_scored_last_or_first_and_harm_nothing(value):
    codes = made(40, [30], 2)
    for where in ("query", "origins"):
        hurt = getattr(codes, where).copy()
        hurt.flat[3] = value
        assert len(codes._replace(**{where: hurt}).scan()[0]) == 30
    buffer = codes.buffer.copy()
    buffer[32 * 5 + 8 : 32 * 5 + 16] = np.array([value, value], np.float32).view(np.uint8)
    rows, scores = codes._replace(buffer=buffer).scan()
    assert sorted(rows.tolist()) == list(range(30))
    assert not np.isnan(scores).any()
    assert (np.diff(scores[np.isfinite(scores)]) >= 0).all()


def test_a_query_at_the_origin_is_as_far_as_the_rows_are():
    codes = made(100, [20], 3)
    rows, scores = codes._replace(query=codes.origins[0].copy()).scan()
    squares = codes.factors[:, 0]
    assert scores.tolist() == squares[rows].tolist() == sorted(squares.tolist())


# ---------------------------------------------------------------- what does not fit is refused


def _bad_scans() -> dict[str, dict[str, object]]:
    codes = made(16, [5, 7], 4)
    wide = np.concatenate([codes.origins, codes.origins], axis=1)
    return {
        "a partition before the first": {"partitions": np.array([-1])},
        "a partition past the last": {"partitions": np.array([2])},
        "an offset before the buffer": {"offsets": codes.offsets - 8},
        "an offset past the buffer": {"offsets": codes.offsets + len(codes.buffer)},
        "an offset near the end of numbers": {"offsets": np.array([0, 2**63 - 1])},
        "more rows than bytes": {"ends": codes.ends + 10**9},
        "ends that fall": {"ends": codes.ends[::-1].copy()},
        "ends below zero": {"ends": codes.ends - 2**62},
        "ends past all numbers": {"ends": np.array([5, 2**63 - 1])},
        "a buffer cut short": {"buffer": codes.buffer[:-1]},
        "fewer offsets": {"offsets": codes.offsets[:1]},
        "fewer ends": {"ends": codes.ends[:1]},
        "fewer origins": {"origins": codes.origins[:1]},
        "wide origins": {"origins": wide},
        "a query of no coordinates": {"query": codes.query[:0]},
        "a query of other numbers": {"query": codes.query.astype(np.float64)},
        "a query of other order": {"query": codes.query[::-1]},
        "a matrix for a query": {"query": codes.query[None]},
        "short offsets": {"offsets": codes.offsets.astype(np.int32)},
        "partitions apart": {"partitions": np.arange(4)[::2]},
        "a mask of another size": {"allowed": np.ones(11, bool)},
        "a mask of bytes": {"allowed": np.ones(12, np.uint8)},
        "scores of another size": {"scores": np.empty(11, np.float32)},
        "rows that may not be written": {"rows": np.broadcast_to(np.int64(0), 12)},
        "rows in a constant": {"rows": np.frombuffer(bytes(96), np.int64)},
        "scores apart": {"scores": np.empty(24, np.float32)[::2]},
        "unaligned origins": {
            "origins": np.frombuffer(b"x" + codes.origins.tobytes(), np.float32, 32, 1).reshape(2, 16)
        },
    }


def call_scan(**changed: object) -> int:
    codes = made(16, [5, 7], 4)
    arguments = {
        "query": codes.query,
        "origins": codes.origins,
        "buffer": codes.buffer,
        "offsets": codes.offsets,
        "ends": codes.ends,
        "partitions": np.arange(2),
        "allowed": None,
        "rows": np.empty(12, np.int64),
        "scores": np.empty(12, np.float32),
    }
    return _kernels.rabitq_scan(*(arguments | changed).values())


@pytest.mark.parametrize("changed", _bad_scans().values(), ids=_bad_scans().keys())
def test_a_scan_of_what_does_not_fit_is_refused(changed):
    assert call_scan() == 12
    with pytest.raises(ValueError, match=r"\w"):
        call_scan(**changed)


def test_what_is_no_array_and_a_wrong_number_of_arguments_are_refused():
    with pytest.raises(TypeError):
        call_scan(query=[1.0] * 16)
    for function in (
        "rabitq_scan",
        "rotate",
        "nearest",
        "distances",
        "distances_at",
        "bounds_at",
        "norms",
        "refine_at",
        "sift_at",
    ):
        with pytest.raises(TypeError, match="arguments"):
            getattr(_kernels, function)()
    with pytest.raises(ValueError, match="variant"):
        _kernels.use_variant("none such")


# ---------------------------------------------------------------- rows


@given(dimension=DIMENSIONS, count=st.integers(0, 20), seed=SEEDS)
@FEW
def test_distances_at_places_are_those_of_a_matrix(dimension, count, seed):
    rng = np.random.default_rng(seed)
    rows, query = gaussian(count + 1, dimension, seed), gaussian(1, dimension, seed + 1)[0]
    data = memoryview(b"xyz" + rows.tobytes())
    offsets = 3 + rng.integers(0, count + 1, count) * 4 * dimension
    for cosine in (False, True):
        matrix, found = np.empty(count + 1, np.float32), np.empty(count, np.float32)
        _kernels.distances(query, rows, cosine, matrix)
        _kernels.distances_at(query, data, offsets, cosine, found)
        assert found.tolist() == matrix[(offsets - 3) // (4 * dimension)].tolist()
    wide = rows.astype(np.float64)
    norms, wanted = np.empty(count + 1, np.float32), np.sqrt(np.square(wide).sum(axis=1))
    _kernels.norms(rows, norms)
    np.testing.assert_allclose(norms, wanted, rtol=1e-7)
    cosine = 1 - wide @ query.astype(np.float64) / (wanted * np.linalg.norm(query.astype(np.float64)))
    np.testing.assert_allclose(matrix, cosine, rtol=1e-6, atol=1e-13)


@pytest.mark.parametrize("offset", [-1, -(2**63), 2**63 - 1, 30, 121])
def test_rows_outside_their_data_are_refused(offset):
    query, data = np.ones(25, np.float32), memoryview(bytes(129))
    out = np.empty(2, np.float32)
    _kernels.distances_at(query, data, np.array([0, 29]), False, out)
    with pytest.raises(ValueError, match="outside"):
        _kernels.distances_at(query, data, np.array([0, offset]), False, out)
    for norm in (None, 5.0):
        _kernels.bounds_at(query, norm, data, np.array([0, 29]), out, out.copy())
        with pytest.raises(ValueError, match="outside"):
            _kernels.bounds_at(query, norm, data, np.array([0, offset]), out, out.copy())
    with pytest.raises(ValueError, match="fit"):
        _kernels.bounds_at(query, None, data, np.array([0, 29]), out, np.empty(3, np.float32))
    with pytest.raises(ValueError, match="fit"):
        _kernels.bounds_at(query, None, data, np.zeros(3, np.int64), out, out.copy())
    with pytest.raises(TypeError):
        _kernels.bounds_at(query, "5", data, np.array([0, 29]), out, out.copy())
    with pytest.raises(ValueError, match="outside"):
        _kernels.refine_at(query[:9], query[:9], np.zeros(129, np.uint8), np.array([0, max(offset, 121)]), out)
    with pytest.raises(ValueError, match="outside"):
        _kernels.distances_at(query, data[:99], np.zeros(2, np.int64), False, out)
    with pytest.raises(ValueError, match="fit"):
        _kernels.distances_at(query, data, np.zeros(3, np.int64), False, out)
    with pytest.raises(ValueError, match="fit"):
        _kernels.distances(query, np.ones((2, 24), np.float32), False, out)


@pytest.mark.parametrize(
    ("offset", "keep", "near", "room"),
    [
        (-1, 1, 0, 2),
        (121, 1, 0, 2),
        (0, 0, 0, 2),
        (0, -1, 0, 2),
        (0, 1, 2, 2),
        (0, 3, 3, 2),
        (0, 1, -1, 2),
        (0, 1, 1, 3),
    ],
)
def test_what_cannot_be_sifted_is_refused(offset, keep, near, room):
    query, data = np.ones(9, np.float32), np.zeros(129, np.uint8)
    offsets, numbers, out = np.array([0, offset]), np.empty(room, np.int64), np.empty(2, np.float32)
    with pytest.raises(ValueError, match=r"outside|fit"):
        _kernels.sift_at(query, query, data, offsets, keep, near, 0.0, numbers, out)
    with pytest.raises(TypeError):
        _kernels.sift_at(query, query, data, np.array([0, 0]), 1, 1, "much", np.empty(2, np.int64), out)


@given(dimension=DIMENSIONS, seed=SEEDS)
@FEW
def test_byte_rows_are_scored_where_they_stand(dimension, seed):
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 256, 7 * dimension + 3, np.uint8)
    base, scale = gaussian(1, dimension, seed)[0], gaussian(1, dimension, seed + 1)[0] / 255
    offsets, found = rng.integers(0, 6 * dimension + 4, 9), np.empty(9, np.float32)
    _kernels.refine_at(base, scale, data, offsets, found)
    rows = np.stack([data[start : start + dimension] for start in offsets.tolist()]).astype(np.float64)
    np.testing.assert_allclose(found, np.square(base - scale * rows).sum(axis=1), rtol=1e-4)


@given(dimension=DIMENSIONS, count=st.integers(0, 12), seed=SEEDS)
@FEW
def test_bounds_and_scores_of_byte_rows_are_the_same_bytes_in_every_variant(dimension, count, seed):
    rows, query = gaussian(count + 1, dimension, seed), gaussian(1, dimension, seed + 1)[0]
    starts, found = np.arange(count) * 4 * dimension, set()
    for variant in _kernels.VARIANTS:
        _kernels.use_variant(variant)
        out = np.empty((5, count), np.float32)
        _kernels.bounds_at(query, None, memoryview(rows.tobytes()), starts, out[0], out[1])
        _kernels.bounds_at(query, 3.0, memoryview(rows.tobytes()), starts, out[2], out[3])
        _kernels.refine_at(query, query / 255, rows.view(np.uint8).reshape(-1), starts, out[4])
        found.add(out.tobytes())
    assert len(found) == 1


# ---------------------------------------------------------------- partitions, texts


@given(
    ranks=st.lists(st.floats(0, 1e3, width=32) | st.just(np.inf), max_size=60),
    margin=st.floats(0, 1e3),
    limit=st.integers(0, 70),
)
@FEW
def test_the_nearest_are_within_the_margin_and_ascend(ranks, margin, limit):
    values, numbers = np.array(ranks, np.float32), np.full(limit, -7, np.int64)
    found = _kernels.nearest(values, margin, numbers)
    near = np.flatnonzero(values <= values.min(initial=np.inf) + np.float32(margin))
    assert numbers[:found].tolist() == near[np.argsort(values[near], kind="stable")][:limit].tolist()


@given(data=st.data(), block=st.integers(1, 40))
@FEW
def test_texts_are_read_from_marked_blocks_only(data, block):
    texts = data.draw(st.lists(st.binary(max_size=30) | st.text(max_size=9).map(str.encode), max_size=8))
    written, offsets = b"", []
    for text in texts:
        offsets.append(len(written))
        written += len(text).to_bytes(4, "little") + text
    marks = bytearray(
        data.draw(st.lists(st.sampled_from([0, 1, 1, 1]), min_size=len(written) // block + 1, max_size=300))
    )
    here = bytearray(data.draw(st.sampled_from([marks, b"\1" * len(marks), b"\0" * len(marks)])))
    used = np.zeros(len(here), np.int64)  # 1 where it was touched
    notes = _notes(here=np.frombuffer(here, bool), used=used, block=block)
    asked = memoryview(written), np.array(offsets, np.uint64), marks, block, notes
    found = _kernels.texts_at(*asked)
    ends = [start + 4 + len(text) for start, text in zip(offsets, texts, strict=True)]
    whole = all(
        marks[place // block] and here[place // block]
        for start, end in zip(offsets, ends, strict=True)
        for place in range(start, end)
    )
    assert found == (texts if whole else None)
    if all(map(_is_utf8, texts)):
        assert _kernels.strings_at(*asked) == ([text.decode() for text in texts] if whole else None)
    elif whole:
        with pytest.raises(UnicodeDecodeError):
            _kernels.strings_at(*asked)
    read = {p // block for start, end in zip(offsets, ends, strict=True) for p in range(start, end)}
    assert set(np.flatnonzero(used)) == read if whole else set(np.flatnonzero(used)) <= read
    starts = np.array(offsets, np.int64)
    heads = [place // block for start in offsets for place in range(start, start + 4)]
    assert _kernels.covered(marks, block, starts, 4, None) is all(marks[head] for head in heads)
    used[:] = 0
    assert _kernels.covered(marks, block, starts, 4, notes) is all(marks[head] and here[head] for head in heads)
    assert set(np.flatnonzero(used)) == set(heads)


def _is_utf8(text: bytes) -> bool:
    return text.decode(errors="ignore").encode() == text


ONE = bytearray(b"\1")


@pytest.mark.parametrize("offset", [7, 8, 2**63, 2**64 - 1])
def test_texts_out_of_bounds_are_none(offset):
    data = memoryview((3).to_bytes(4, "little") + b"abc" + b"\xff" * 3)
    assert _kernels.texts_at(data, np.array([0], np.uint64), ONE, 16, None) == [b"abc"]
    assert _kernels.texts_at(data, np.array([0, offset], np.uint64), ONE, 16, None) is None
    assert _kernels.texts_at(data, np.array([6], np.uint64), ONE, 16, None) is None
    assert not _kernels.covered(bytearray(b"\1"), 16, np.array([-1]), 1, None)
    assert not _kernels.covered(bytearray(b"\1"), 16, np.array([0]), 17, None)
    for block in (0, -1):
        with pytest.raises(ValueError, match="size"):
            _kernels.covered(bytearray(b"\1"), block, np.array([0]), 1, None)


@given(data=st.binary(max_size=40), bounds=st.lists(st.tuples(*[st.integers(0, 40)] * 2), max_size=12))
@FEW
def test_slices_are_the_bytes_of_their_ranges(data, bounds):
    ranges = [sorted(min(place, len(data)) for place in pair) for pair in bounds]
    starts, ends = np.array(ranges, np.int64).reshape(-1, 2).T.copy()
    wanted = [data[start:end] for start, end in ranges]
    assert _kernels.slices_of(memoryview(data), starts, ends) == wanted
    many = np.tile(starts, 2000), np.tile(ends, 2000)  # read ahead while other threads run
    assert _kernels.slices_of(memoryview(data), *many) == wanted * 2000


@pytest.mark.parametrize("times", [1, 2000])
@pytest.mark.parametrize("wrong", [(-1, 2), (3, 2), (0, 5), (5, 5), (-(2**63), 2**63 - 1), (2**63 - 1, -(2**63))])
def test_slices_outside_the_data_are_refused(wrong, times):
    data, bounds = memoryview(b"abcd"), np.array([(0, 4), (4, 4), wrong] * times, np.int64).T.copy()
    with pytest.raises(ValueError, match="outside"):
        _kernels.slices_of(data, *bounds)
    with pytest.raises(ValueError, match="fit"):
        _kernels.slices_of(data, bounds[0], bounds[1, :-1])
    assert _kernels.slices_of(data, *bounds[:, :2].copy()) == [b"abcd", b""]


@given(texts=st.lists(st.binary(max_size=30), max_size=20), times=st.sampled_from([1, 5000]))
@FEW
def test_a_page_has_each_text_and_its_length_before_it(texts, times):
    many = texts * times  # a large page is written while other threads run
    sizes = np.full(len(many), -7, np.int64)
    wanted = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    assert _kernels.page_of(many, sizes) == wanted * times
    assert sizes.tolist() == [len(text) for text in many]


def test_pages_of_anything_but_bytes_are_refused():
    sizes = np.zeros(2, np.int64)
    for wrong in (["a", b"b"], [b"a", bytearray(b"b")], [b"a", None], "ab", 2, None):
        with pytest.raises(TypeError):
            _kernels.page_of(wrong, sizes)
    for texts in ([], [b"a"], [b"a", b"b", b"c"]):
        with pytest.raises(ValueError, match="fit"):
            _kernels.page_of(texts, sizes)
    with pytest.raises(ValueError, match="due"):
        _kernels.page_of([b"a", b"b"], sizes.astype(np.int32))
    with pytest.raises(ValueError, match="writable"):
        _kernels.page_of([b"a", b"b"], _read_only(sizes))


@given(
    ranges=st.lists(st.tuples(st.integers(-20, 130), st.integers(-3, 40)), max_size=8),
    block=st.integers(1, 17),
    seed=SEEDS,
)
@FEW
def test_touching_notes_the_blocks_of_ranges_and_tells_whether_all_are_here(ranges, block, seed):
    random, count = np.random.default_rng(seed), 110 // block
    here, hot, kept = random.random(count) < 0.9, random.random(count) < 0.3, random.random(count) < 0.5
    used, marks = random.integers(0, 16, count), random.random(count) < 0.5
    starts = np.array([start for start, _ in ranges], np.int64)
    ends = np.array([start + length for start, length in ranges], np.int64)
    inside = [r for r in ranges if r[1] > 0 and r[0] >= 0 and r[0] + r[1] <= count * block]
    outside = [r for r in ranges if r[1] > 0 and r not in inside]
    bytes_ = [byte for start, length in inside for byte in range(start, start + length)]
    touched = np.unique(np.array(bytes_, np.int64) // block)
    after = hot.copy(), used.copy()
    after[0][touched] |= used[touched] < 5
    after[1][touched] = np.maximum(used[touched], 12)
    notes = _kernels.take_notes(here, kept, used, hot, np.array([12, 5]), block)
    bounds = np.stack([starts, ends, ends], axis=1).reshape(-1)
    numbers = np.arange(len(ranges)) * 3
    _kernels.begin_work(None)
    way = random.integers(4)
    if way == 0:
        found = _kernels.touch(notes, starts, ends)
    elif way == 1:
        found = sum(_kernels.touch(notes, start, start + length) for start, length in ranges) == len(ranges)
    elif way == 2:
        found = _kernels.touch_parts(notes, bounds, numbers)
    else:
        flags = np.ones(len(bounds), bool)
        total = _kernels.all_marked(flags, np.arange(len(flags)), numbers, np.append(bounds, 0), notes)
        assert total in (-1, numbers.sum())
        found = total >= 0
    assert found is (bool(here[touched].all()) and not outside)
    chosen = touched[marks[touched]]
    assert _kernels.touched_of(notes, marks) == (len(chosen), kept[chosen].sum())
    assert _kernels.end_work() == (len(touched), kept[touched].sum())
    for array, due in zip((hot, used), after, strict=True):
        np.testing.assert_array_equal(array, due)


def test_work_counts_each_block_once_however_often_it_and_other_work_touch_it():
    flags, used, clock = np.ones(3, bool), np.zeros(3, np.int64), np.array([2, 2])
    notes = [_kernels.take_notes(flags, flags, used, flags, clock, 4) for _ in range(9)]
    _kernels.begin_work("outer")
    for _ in range(2):
        for each in notes:
            assert _kernels.touch(each, 0, 5)
        _kernels.begin_work("inner")
        assert _kernels.work_begun() == "inner"
        clock[0] += 1
        assert _kernels.touch(notes[0], 4, 12)
        assert _kernels.touch(notes[0], 0, 12)
        assert _kernels.end_work() == (3, 3)
        assert _kernels.work_begun() == "outer"
    assert _kernels.touch(notes[0], 0, 12)
    assert _kernels.end_work() == (19, 19)
    assert used.tolist() == [4, 4, 4]  # the epoch of the work that touched them last
    assert _kernels.work_begun() is None
    with pytest.raises(ValueError, match="none has begun"):
        _kernels.end_work()


def test_each_thread_has_work_of_its_own():
    notes, ready = _notes(here=np.ones(3, bool)), threading.Barrier(4)

    def work(last: int) -> tuple[int, int]:
        _kernels.begin_work(last)
        for end in range(1, last + 1):
            ready.wait(10)
            _kernels.touch(notes, 0, 4 * end)
        for _ in range(last, 3):
            ready.wait(10)
        assert _kernels.work_begun() == last
        return _kernels.end_work()

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(work, range(4))) == [(0, 0), (1, 0), (2, 0), (3, 0)]


def test_work_keeps_the_notes_it_has():
    _kernels.begin_work(None)
    for _ in range(50):
        assert _kernels.touch(_notes(here=np.ones(1 << 12, bool)), 0, 4)
    gc.collect()
    assert _kernels.end_work() == (50, 0)


def test_what_is_touched_outside_of_work_is_noted():
    used, clock = np.zeros(3, np.int64), np.array([7, 1])
    flags = np.ones(3, bool)
    notes = _kernels.take_notes(flags, flags, used, flags, clock, 4)
    assert _kernels.touch(notes, 0, 5)
    clock[0] = 9
    assert _kernels.touch(notes, 4, 9)
    assert used.tolist() == [7, 9, 9]


def test_what_is_not_all_here_and_marked_is_not_touched_gently():
    here, used = np.array([True, True, False]), np.zeros(3, np.int64)
    notes = _kernels.take_notes(here, here, used, here.copy(), np.array([3, 1]), 4)
    for marks, starts in ((b"\1\1\1", [0, 7]), (b"\1\0\1", [0, 3]), (b"\1\1", [0, 11]), (b"\1\1\1", [0, -1])):
        assert not _kernels.at_hand(bytearray(marks), 4, np.array(starts), 2, notes)
        assert not used.any()
    assert _kernels.at_hand(bytearray(b"\1\1\1"), 4, np.array([4, 6]), 2, notes)
    assert used.tolist() == [0, 3, 0]
    assert _kernels.at_hand(bytearray(b"\1\1"), 4, np.array([0, 6]), 2, None)


def _notes(**other: object) -> object:
    flags, used = np.zeros(3, bool), np.zeros(3, np.int64)
    if "here" in other:
        flags, used = np.zeros(len(other["here"]), bool), np.zeros(len(other["here"]), np.int64)
    given = {
        "here": flags,
        "kept": np.zeros(len(flags), bool),
        "used": used,
        "hot": flags,
        "clock": np.ones(2, np.int64),
        "block": 4,
    }
    return _kernels.take_notes(*(given | other).values())


def test_notes_are_of_arrays_that_fit():
    flags, used = np.zeros(3, bool), np.zeros(3, np.int64)
    for other in (
        {"used": used[:2]},
        {"hot": flags[:2]},
        {"kept": flags[:2]},
        {"clock": np.ones(3, np.int64)},
        {"block": 0},
        {"block": 2**62},
        {"used": used.astype(np.int32)},
    ):
        with pytest.raises(ValueError, match="due"):
            _notes(**other)
    with pytest.raises(ValueError, match="writable"):
        _notes(hot=_read_only(flags))
    with pytest.raises(TypeError):
        _notes(block="4")


def test_only_what_lies_in_the_object_is_touched():
    places = np.zeros(1, np.int64)
    assert _kernels.touch(_notes(here=np.ones(3, bool)), 0, 12)
    assert not _kernels.touch(_notes(here=np.ones(3, bool)), 0, 13)
    with pytest.raises(ValueError, match="due"):
        _kernels.touch(_notes(), places, np.zeros(2, np.int64))
    for number in (-1, 0, 2**62, 2**63 - 1):
        with pytest.raises(ValueError, match="past"):
            _kernels.touch_parts(_notes(), places, np.array([number]))
    for wrong in (None, "notes", places):
        with pytest.raises(TypeError, match="notes"):
            _kernels.touch(wrong, places, places)
        with pytest.raises(TypeError, match="notes"):
            _kernels.touch_parts(wrong, places, places)
    with pytest.raises(TypeError, match="notes"):
        _kernels.texts_at(memoryview(b"abcd"), np.zeros(1, np.uint64), ONE, 16, "notes")
    with pytest.raises(TypeError):
        _kernels.touch(_notes(), 0, "1")


def test_notes_keep_the_arrays_that_they_are_of():
    notes = [_notes(here=np.ones(1 << 12, bool)) for _ in range(50)]
    gc.collect()
    again = [np.zeros(1 << 12, bool) for _ in range(200)]  # in the memory of those arrays, had they been let go
    assert all(_kernels.touch(each, 0, 4 << 12) for each in notes)
    assert not np.any(again)


def _read_only(array: np.ndarray) -> np.ndarray:
    frozen = array.copy()
    frozen.flags.writeable = False
    return frozen


# ---------------------------------------------------------------- variants, threads


@given(dimension=DIMENSIONS, seed=SEEDS, scale=st.sampled_from([1e-30, 1.0, 1e9]))
@FEW
def test_all_variants_give_the_same_bytes(dimension, seed, scale):
    codes = made(dimension, [3, 0, 150], seed, scale)
    rows = gaussian(5, dimension, seed) * np.float32(scale)
    left, right = _hartley(3), np.pad(_hartley(dimension // 3 or 1), [(0, 0), (0, -(dimension // 3 or 1) % 8)])
    signs = np.sign(gaussian(3, dimension, seed))
    results = []
    for variant in _kernels.VARIANTS:
        _kernels.use_variant(variant)
        out = np.zeros((4, 5), np.float32)
        _kernels.distances(codes.query, rows, True, out[0])
        _kernels.distances(codes.query, rows, False, out[1])
        _kernels.norms(rows, out[2])
        _kernels.refine_at(codes.query, codes.origins[0], codes.buffer, np.arange(5), out[3])
        sifted, numbers = np.empty(5, np.float32), np.empty(5, np.int64)
        count = _kernels.sift_at(
            codes.query, codes.origins[0], codes.buffer, np.arange(5), 3, 0, 0.0, numbers, sifted
        )
        assert sifted[:count].tolist() == out[3][numbers[:count]].tolist()
        turned = rows[0].copy()
        if dimension >= 3:
            _kernels.rotate(signs, left, right, turned)
        found = codes.scan(limit=100)
        results.append((out.tobytes(), turned.tobytes(), found[0].tobytes(), found[1].tobytes()))
    assert len(set(results)) == 1
    assert _kernels.VARIANTS[0] == "plain"


@pytest.mark.parametrize("dimension", [1, 2, 3, 7, 8, 9, 63, 384, 1000])
def test_a_rotation_is_the_product_of_its_steps(dimension):
    rotation, row = Rotation(dimension, 3), gaussian(1, dimension)[0]
    np.testing.assert_allclose(rotation.row(row), rotation.rows(row[None])[0], atol=1e-5)
    with pytest.raises(ValueError, match="fit"):
        _kernels.rotate(rotation._signs, rotation._left, rotation._right, np.zeros(dimension + 1, np.float32))
    with pytest.raises(ValueError, match="fit"):
        _kernels.rotate_rows(rotation._signs, rotation._left, rotation._right, np.zeros((2, dimension + 1), "f4"))


def test_threads_share_what_they_scan():
    codes, allowed = made(384, [500] * 8, 5), np.arange(4000) % 3 > 0

    def one(turn: int) -> tuple[list[int], list[float]]:
        rows, scores = codes.scan(range(turn % 8 + 1), 40, allowed if turn % 2 else None)
        return rows.tolist(), scores.tolist()

    alone = [one(turn) for turn in range(16)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, range(320))) == alone * 20
