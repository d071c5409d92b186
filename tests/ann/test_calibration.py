"""Tests of calibration: what it promises holds for queries it has not seen, with and without a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ann.samples import clustered
from quiver.ann.calibrating import QUERIES, RANKS, TARGETS, calibrate
from quiver.ann.calibration import REACH_RANK, Calibration
from quiver.ann.codec import Codec, CodeLists, Scanner
from quiver.ann.codecs.rabitq import RaBitQ
from quiver.ann.neighbours import Neighbours, find_neighbours
from quiver.ann.partitioners.kdtree import KDTree
from quiver.ann.partitioners.kmeans import KMeans
from quiver.format.segment_index import partition_offsets
from quiver.model.errors import CorruptObjectError

if TYPE_CHECKING:
    from quiver.ann.partitioner import Partitioner

ROWS, DIMENSION, HELD_OUT = 6000, 32, 300
SLACK = 0.03
NOISE = 0.05  # of tables measured with a neighbour each of few queries


class Searchable(NamedTuple):
    """Rows in partition order, as a segment has them, and queries that no part of it has seen."""

    rows: np.ndarray
    partitioner: Partitioner
    ends: np.ndarray
    radii: np.ndarray
    scanner: Scanner
    calibration: Calibration
    queries: np.ndarray
    nearest: np.ndarray
    clusters: int

    def order(self, query: np.ndarray) -> np.ndarray:
        return np.argsort(self.partitioner.rank(query), kind="stable")

    @property
    def shapeless(self) -> bool:
        """Whether the rows have no clusters, so that nearly every partition has to be probed."""
        return self.clusters == 1


def make(kind: type[Partitioner], clusters: int) -> Searchable:
    data = clustered(ROWS + HELD_OUT, DIMENSION, clusters, seed=3, skew=0.5)
    rows, queries = data[:ROWS], data[ROWS:]
    partitioner = kind.train(rows, 180, 7)
    assigned = partitioner.assign(rows)
    order = np.argsort(assigned, kind="stable")
    rows, holders = rows[order], assigned[order].astype(np.int64)
    ends = np.cumsum(np.bincount(assigned, minlength=partitioner.count))
    gaps = np.square(rows - partitioner.origins[holders]).sum(axis=1)
    radii = np.sqrt(np.bincount(holders, gaps, partitioner.count) / np.maximum(np.diff(ends, prepend=0), 1))
    codec = RaBitQ.train(rows, holders, partitioner.origins, 7)
    scanner = codec.scanner(
        code_lists(codec, codec.encode_rows(rows, holders, partitioner.origins), ends), partitioner.origins
    )
    own = np.random.default_rng(0).choice(ROWS, QUERIES, replace=False)
    neighbours = find_neighbours(rows[own], own, [(0, rows)], RANKS[-1])
    radii = radii.astype(np.float32)
    found = calibrate(rows[own], own, neighbours, partitioner, ends, radii, scanner)
    nearest = np.stack([np.argsort(np.square(rows - query).sum(axis=1), kind="stable") for query in queries])
    return Searchable(rows, partitioner, ends, radii, scanner, found, queries, nearest, clusters)


def code_lists(codec: Codec, codes: np.ndarray, ends: np.ndarray) -> CodeLists:
    offsets = partition_offsets(ends, (codec.code_size, 8), codec.block)
    buffer = np.zeros(int(offsets[-1]), np.uint8)
    for number, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        part = np.concatenate([codec.lay_out(codes[start:end]), np.arange(start, end, dtype="<i8").view(np.uint8)])
        buffer[offsets[number] : offsets[number] + len(part)] = part
    return CodeLists(ends, buffer, offsets[:-1])


@pytest.fixture(
    scope="module", params=[(KMeans, 60), (KDTree, 60), (KMeans, 1)], ids=["kmeans", "kdtree", "one cluster"]
)
def searchable(request) -> Searchable:
    return make(*request.param)


# ---------------------------------------------------------------- what it promises


@pytest.mark.parametrize("rank", [1, 10, 30, 100])
@pytest.mark.parametrize("target", [0.8, 0.9, 0.95, 0.98])
def test_the_margin_and_the_depth_it_names_find_the_share_they_were_asked_for(searchable, rank, target):
    margin = searchable.calibration.margin_for(rank, target)
    depth = searchable.calibration.depth_for(rank, target)
    held, found, counts = [], [], []
    for query, nearest in zip(searchable.queries, searchable.nearest, strict=True):
        true = nearest[:rank]
        behind = searchable.partitioner.rank(query)
        probed = np.flatnonzero(behind <= behind.min() + margin)
        counts.append(len(probed))
        held.append(np.isin(np.searchsorted(searchable.ends, true, "right"), probed).mean())
        best = searchable.scanner.scan(query, probed, depth).rows
        found.append(np.isin(true, best).mean())
    slack = SLACK + (NOISE if rank == 1 else 0)
    assert np.mean(held) >= target - slack
    assert np.mean(found) >= target - slack
    count = searchable.calibration.partitions_for(rank, target)
    assert np.mean(counts) < count * 1.5 + 1
    assert searchable.shapeless or count < searchable.partitioner.count / 2  # not because everything is probed


@pytest.mark.parametrize("target", [0.9, 0.95, 0.98])
@pytest.mark.parametrize("share", [0.1, 0.01])
def test_within_reach_of_the_kth_match_lie_the_matches_of_a_random_filter(searchable, share, target):
    allowed = np.random.default_rng(1).random(ROWS) < share
    reach = searchable.calibration.reach_for(target)
    radii = searchable.radii.astype(np.float64)
    held, reached = [], []
    for query, nearest in zip(searchable.queries, searchable.nearest, strict=True):
        true = nearest[allowed[nearest]][:REACH_RANK]
        square = float(np.square(searchable.rows[true[-1]] - query).sum())
        gaps = np.square(searchable.partitioner.origins - query).sum(axis=1)
        can_hold = gaps <= square + np.square(radii) + 2 * reach * np.sqrt(square) * radii
        held.append(can_hold[np.searchsorted(searchable.ends, true, "right")].mean())
        reached.append(can_hold.mean())
    assert np.mean(held) >= target - SLACK
    # A tenth match of a hundred rows is as far as the thousandth nearest row.
    assert searchable.shapeless or np.mean(reached) < (0.5 if share == 0.1 else 0.9)


def origin_nearest(searchable, query) -> np.ndarray:
    return searchable.partitioner.origins[searchable.order(query)[0]]


def test_most_queries_like_the_rows_are_as_far_from_the_nearest_origin_as_is_usual(searchable):
    away = [np.linalg.norm(query - origin_nearest(searchable, query)) for query in searchable.queries]
    assert 0.7 < np.mean(np.array(away) <= searchable.calibration.usual) < 0.97


@pytest.mark.parametrize("away", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("target", [0.9, 0.98])
@pytest.mark.parametrize("rank", [10, 100])
def test_the_error_bounds_the_codes_of_neighbours_wherever_the_query_is(searchable, rank, target, away):
    error = searchable.calibration.error_for(rank, target)
    ways = np.random.default_rng(2).normal(size=searchable.queries[:60].shape)
    ways *= away * float(np.median(searchable.radii)) / np.linalg.norm(ways, axis=1, keepdims=True)
    held, kept = [], []
    for query in (searchable.queries[:60] + ways).astype(np.float32):
        squares = np.square(searchable.rows - query).sum(axis=1)
        true = np.argsort(squares)[:rank]
        bound = squares[true[-1]] + error * np.linalg.norm(query - origin_nearest(searchable, query))
        found = searchable.scanner.scan(query, np.arange(searchable.partitioner.count), ROWS)
        inside = found.rows[found.scores <= bound]
        held.append(np.isin(true, inside).mean())
        kept.append(len(inside))
    assert np.mean(held) >= target - SLACK
    assert away or searchable.shapeless or np.mean(kept) < ROWS / 10


def test_more_is_needed_for_a_higher_recall_and_for_more_rows(searchable):
    calibration = searchable.calibration
    for ask in (calibration.partitions_for, calibration.depth_for):
        for rank in (1, 5, 10, 77, 1000):
            asked = [ask(rank, recall) for recall in (0.5, 0.7, 0.9, 0.97, 0.99, 0.999)]
            assert asked == sorted(asked)
    for recall in (0.5, 0.9, 0.99):
        asked = [calibration.partitions_for(rank, recall) for rank in (1, 10, 50, 100, 1000)]
        assert asked == sorted(asked)
        assert all(calibration.depth_for(rank, recall) >= rank for rank in (1, 10, 500, 1000, 5000, 100_000))
    reaches = [calibration.reach_for(recall) for recall in (0.5, 0.9, 0.99, 0.999)]
    assert reaches == sorted(reaches)
    assert -1 <= reaches[0] <= reaches[-1] <= 1


def test_beyond_the_tables_their_ends_hold_and_depth_grows_with_the_rows_asked_for(searchable):
    calibration = searchable.calibration
    assert calibration.partitions_for(0.1, 0.9) == calibration.partitions_for(1, 0.9)
    assert calibration.partitions_for(1e9, 0.9) == calibration.partitions_for(RANKS[-1], 0.9)
    assert calibration.partitions_for(10, 0.1) == calibration.partitions_for(10, TARGETS[0])
    assert calibration.reach_for(1.0) == calibration.reach_for(TARGETS[-1])
    assert calibration.depth_for(5000, 0.9) >= 5 * calibration.depth_for(1000, 0.9) - 5


def test_copies_of_one_row_can_be_calibrated():
    rows = np.ones((600, 4), np.float32)
    partitioner = KMeans.train(rows, 5, 7)
    ends = np.cumsum(np.bincount(partitioner.assign(rows), minlength=partitioner.count))
    codec = RaBitQ.train(rows, np.zeros(600, np.int64), partitioner.origins, 7)
    scanner = codec.scanner(
        code_lists(codec, codec.encode_rows(rows, np.zeros(600, np.int64), partitioner.origins), ends),
        partitioner.origins,
    )
    own = np.arange(300, 310)
    found = calibrate(
        rows[own],
        own,
        find_neighbours(rows[own], own, [(0, rows)], 599),
        partitioner,
        ends,
        np.zeros(len(ends), np.float32),
        scanner,
    )
    assert found.depth_for(10, 0.9) >= 10
    assert Calibration.decode(memoryview(found.encode())).encode() == found.encode()


def test_two_rows_can_be_calibrated_without_codes():
    rows = np.eye(2, 4, dtype=np.float32)
    partitioner = KMeans.train(rows, 2, 7)
    rows = rows[np.argsort(partitioner.assign(rows), kind="stable")]
    ends = np.array([1, 2])[: partitioner.count]
    near = Neighbours(np.array([[1], [0]]), np.array([[2.0], [2.0]], np.float32))
    found = calibrate(rows, np.arange(2), near, partitioner, ends, np.zeros(len(ends), np.float32), None)
    assert found.partitions_for(1, 0.999) == partitioner.count
    assert found.depth_for(1, 0.9) == 1


# ---------------------------------------------------------------- stored


def test_what_is_stored_answers_the_same(searchable):
    stored = Calibration.decode(memoryview(searchable.calibration.encode()))
    for rank in (1, 7, 5000):
        for recall in (0.5, 0.93, 1.0):
            assert stored.partitions_for(rank, recall) == searchable.calibration.partitions_for(rank, recall)
            assert stored.depth_for(rank, recall) == searchable.calibration.depth_for(rank, recall)
            assert stored.error_for(rank, recall) == searchable.calibration.error_for(rank, recall)
            assert stored.reach_for(recall) == searchable.calibration.reach_for(recall)


SOUND = {
    "ranks": [1, 10],
    "targets": [0.5, 0.9],
    "partitions": [[1, 2], [3, 4]],
    "depth": [[1, 2], [10, 20]],
    "reach": [0.1, 0.2],
}
LIES = {
    "no ranks": {"ranks": [], "partitions": [], "depth": []},
    "no targets": {"targets": [], "partitions": [[], []], "depth": [[], []], "reach": []},
    "few rows": {"partitions": [[1, 2]]},
    "many rows": {"depth": [[1, 2], [10, 20], [10, 20]]},
    "a short row": {"partitions": [[1, 2], [3]]},
    "a long row": {"depth": [[1, 2, 3], [10, 20]]},
    "a short reach": {"reach": [0.1]},
    "ranks that fall": {"ranks": [10, 1]},
    "a rank twice": {"ranks": [1, 1]},
    "rank zero": {"ranks": [0, 10]},
    "targets that fall": {"targets": [0.9, 0.5]},
    "a target of one": {"targets": [0.5, 1.0]},
    "a negative target": {"targets": [-0.5, 0.9]},
    "a target that is no number": {"targets": [0.5, float("nan")]},
    "an infinite reach": {"reach": [0.1, float("inf")]},
    "a reach that is no number": {"reach": [float("nan"), 0.2]},
    "no partitions to probe": {"partitions": [[0, 2], [3, 4]]},
    "fewer than no partitions": {"partitions": [[1, 2], [3, -4]]},
    "a negative depth": {"depth": [[1, -2], [10, 20]]},
    "text": {"depth": "deep"},
}


TABLE = [[0.5, 1.0], [1.0, 2.0]]
LIES_OF_A_TABLE = {
    "few rows": [[0.5, 1.0]],
    "a short row": [[0.5, 1.0], [1.0]],
    "a negative bound": [[0.5, 1.0], [-1.0, 2.0]],
    "an infinite bound": [[0.5, 1.0], [1.0, float("inf")]],
    "a bound that is no number": [[0.5, float("nan")], [1.0, 2.0]],
}


@pytest.mark.parametrize("lie", LIES_OF_A_TABLE.values(), ids=LIES_OF_A_TABLE)
@pytest.mark.parametrize("name", ["margins", "errors"])
def test_bounds_that_do_not_fit_are_refused(name, lie):
    sound = Calibration.decode(memoryview(msgspec.msgpack.encode(SOUND | {name: TABLE})))
    assert {"margins": sound.margin_for, "errors": sound.error_for}[name](1, 0.5) == 0.5
    with pytest.raises(CorruptObjectError):
        Calibration.decode(memoryview(msgspec.msgpack.encode(SOUND | {name: lie})))


def test_tables_from_before_margins_and_errors_say_that_they_have_none():
    old = Calibration.decode(memoryview(msgspec.msgpack.encode(SOUND)))
    assert (old.margin_for(10, 0.9), old.error_for(10, 0.9), old.usual) == (None, None, 0.0)


@pytest.mark.parametrize("away", [-1.0, float("nan"), float("inf")])
def test_a_distance_that_is_none_is_refused(away):
    with pytest.raises(CorruptObjectError):
        Calibration.decode(memoryview(msgspec.msgpack.encode(SOUND | {"away": away})))


@pytest.mark.parametrize("lie", LIES)
def test_tables_that_do_not_fit_are_refused(lie):
    assert Calibration.decode(memoryview(msgspec.msgpack.encode(SOUND))).partitions_for(1, 0.5) == 1
    with pytest.raises(CorruptObjectError):
        Calibration.decode(memoryview(msgspec.msgpack.encode(SOUND | LIES[lie])))


@pytest.mark.parametrize("field", SOUND)
def test_tables_of_which_one_is_missing_are_refused(field):
    lacking = {name: value for name, value in SOUND.items() if name != field}
    with pytest.raises(CorruptObjectError):
        Calibration.decode(memoryview(msgspec.msgpack.encode(lacking)))


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data):
    with pytest.raises(CorruptObjectError):
        Calibration.decode(memoryview(data))


@pytest.mark.parametrize("state", [b"\x81\xa1x" + b"\x91" * 100_000, b"\x81\xa1\xff\x01", b""])
def test_deep_or_unreadable_bytes_are_refused(state):
    with pytest.raises(CorruptObjectError):
        Calibration.decode(memoryview(state))


@given(st.integers(0, 200), st.integers(0, 255), st.floats(0, 1), st.floats(0, 1e12))
def test_a_changed_state_is_refused_or_gives_numbers_that_can_be_used(place, byte, recall, rank):
    state = bytearray(msgspec.msgpack.encode(SOUND))
    state[place % len(state)] = byte
    try:
        found = Calibration.decode(memoryview(state))
    except CorruptObjectError:
        return
    assert found.partitions_for(rank, recall) >= 1
    assert found.depth_for(rank, recall) >= rank
    assert np.isfinite(found.reach_for(recall))
