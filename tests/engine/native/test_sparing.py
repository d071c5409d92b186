"""Int8 rows come with the codes where their bytes cost less than a round; else later, and of candidates alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from pyroaring import BitMap

from asynchronous import asynchronous
from engine.reference import make_batch
from quiver.engine.native import sparing
from quiver.engine.native.exact_search import make_target
from quiver.engine.native.segment_search import search_segment
from quiver.engine.native.snapshot import OpenSegment
from quiver.engine.native.sparing import comes_along
from quiver.format import segment_index
from quiver.format.segment_index import PARTITION_BLOCKS
from quiver.model.errors import CorruptObjectError
from quiver.model.filter_parser import parse_filter
from quiver.model.types import DistanceMetric, IndexSpec
from quiver.storage import segment_builder
from quiver.storage.cache.disk_tier import DiskTier
from quiver.storage.cache.view import BLOCK, covering
from simulation.eager import probing
from storage.segments import INDEX_KEY, PARTITIONED, built, index_bytes, read
from storage.tape import OWNER
from storage.test_segment_reader_cached import PLENTY, Remote

if TYPE_CHECKING:
    from pathlib import Path

    from quiver.engine.native.exact_search import Found, Target
    from quiver.storage.segment_builder import BuiltSegment
    from quiver.storage.segment_reader import SegmentReader

FAST, SLOW = 1e12, 1e3  # bytes per second: all bytes cost less than a round, or any cost more

# ---------------------------------------------------------------- the rule

BLOCKS, CANDIDATES = st.integers(0, 10_000), st.integers(0, 10_000)
SECONDS, BANDWIDTHS = st.floats(0, 10), st.floats(1, 1e12)


def test_int8_rows_come_along_up_to_the_stated_point():
    spared = 200 * math.exp(-100 / 200) * BLOCK
    rate = spared / (0.03 + 0.002)
    assert comes_along(200, 100, 0.03, 1.001 * rate)
    assert not comes_along(200, 100, 0.03, 0.999 * rate)
    assert comes_along(200, 100, 0.03, 0.501 * rate, rounds=2)
    assert not comes_along(200, 100, 0.03, 0.499 * rate, rounds=2)


def test_where_codes_take_many_requests_int8_rows_come_along_unless_that_takes_a_second():
    spared = 200 * math.exp(-100 / 200) * BLOCK
    assert comes_along(200, 100, 0.03, 1.001 * spared, requests=6)
    assert not comes_along(200, 100, 0.03, 0.999 * spared, requests=6)
    assert not comes_along(200, 100, 0.03, 1.001 * spared, requests=5)


@given(BLOCKS, CANDIDATES, SECONDS, BANDWIDTHS, st.integers(1, 3), st.integers(1, 12))
def test_whoever_comes_along_does_so_on_a_faster_line_with_dearer_rounds_and_more_candidates(
    blocks, candidates, seconds, bandwidth, rounds, requests
):
    along = comes_along(blocks, candidates, seconds, bandwidth, rounds, requests)
    assert comes_along(blocks, candidates, seconds, 2 * bandwidth, rounds, requests) >= along
    assert comes_along(blocks, candidates, 2 * seconds, bandwidth, rounds, requests) >= along
    assert comes_along(blocks, candidates, seconds, bandwidth, rounds + 1, requests) >= along
    assert comes_along(blocks, candidates, seconds, bandwidth, rounds, requests + 1) >= along
    assert comes_along(blocks, 2 * candidates, seconds, bandwidth, rounds, requests) >= along
    assert comes_along(0, candidates, seconds, bandwidth, rounds, requests)


@given(BLOCKS, CANDIDATES, SECONDS, BANDWIDTHS)
def test_a_round_is_never_made_to_spare_what_takes_less_time(blocks, candidates, seconds, bandwidth):
    if blocks * BLOCK / bandwidth <= seconds:
        assert comes_along(blocks, candidates, seconds, bandwidth)


# ---------------------------------------------------------------- searches

ROWS, DIMENSION, CLUSTERS = 2_400, 2048, 2
SPEC = IndexSpec(DIMENSION, DistanceMetric.EUCLIDEAN, (), "kmeans", "rabitq", 0.9)
CENTRES = np.random.default_rng(8).normal(size=(CLUSTERS, DIMENSION))
BATCH = make_batch(
    [f"k{n}" for n in range(ROWS)],
    CENTRES[np.arange(ROWS) % CLUSTERS] + np.random.default_rng(9).normal(size=(ROWS, DIMENSION)),
    [{"n": n, "half": n % 2} for n in range(ROWS)],
)
QUERIES = [(BATCH.vectors[n] + BATCH.vectors[n + CLUSTERS]) / 2 for n in (0, 17, 1234)]


class Segment(NamedTuple):
    built: BuiltSegment
    index: bytes

    @property
    def whole(self) -> SegmentReader:
        return read(self.index, self.built.rows_file)


@pytest.fixture(scope="module")
def segment() -> Segment:
    """Of large partitions, whose int8 rows take more blocks than there are candidates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment_builder, "_count", lambda _: CLUSTERS)
        made = built(BATCH, SPEC, PARTITIONED)
    index = index_bytes(made)
    assert made.footer.int8_size * ROWS > 64 * BLOCK
    return Segment(made, index)


def target(query: np.ndarray, *, metadata: bool = False, text: dict | None = None) -> Target:
    condition = parse_filter(text) if text else None
    return make_target(query.astype(np.float32), SPEC, 3, 0.9, condition, metadata=metadata)


def search(reader: SegmentReader, wanted: Target) -> tuple[Found, list[str], list[bytes]]:
    with probing():
        found = search_segment(OpenSegment(reader, BitMap()), wanted)
    assert found.work.plan == "probe"
    best = found.candidates.rows[np.argsort(found.candidates.low, kind="stable")[:3]]
    return found, reader.keys_of(best), reader.metadata_of(best) if wanted.metadata else []


class Node(Remote):
    """A node with a line of a pace that is known; counts rounds."""

    def __init__(self, total: float, seconds: float = 0.03, disk: DiskTier | None = None) -> None:
        super().__init__(PLENTY, disk)
        self.cache.pace.seconds = seconds
        self.cache.pace.total = self.cache.pace.alone = total
        self.cache.pace.rate = total / 8
        self.waves = 0
        fetch = self.cache.fetch

        async def counted(*args: object, **named: object) -> int:
            self.waves += 1
            return await fetch(*args, **named)

        self.cache.fetch = counted

    async def ask(self, wanted: Target) -> tuple[tuple[Found, list[str], list[bytes]], int, int]:
        """The answer, rounds and bytes."""
        waves, fetched = self.waves, self.cache.counts.fetched_bytes
        answer = await self.call(lambda reader: search(reader, wanted))
        return answer, self.waves - waves, self.cache.counts.fetched_bytes - fetched


async def opened(
    segment: Segment, total: float, index: bytes | None = None, seconds: float = 0.03, disk: DiskTier | None = None
) -> Node:
    node = Node(total, seconds, disk)
    await node.place(index or segment.index, segment.built.rows_file)
    size = len(index or segment.index)
    section = segment_index.decode_footer(INDEX_KEY, OWNER, memoryview(segment.index)).sections["blocks"]
    await node.open(size, size - section.offset)
    await node.call(lambda reader: [reader.codes.calibration, reader.codes.refiner, reader.codes.partitioner])
    return node


def same(one: tuple[Found, list[str], list[bytes]], other: tuple[Found, list[str], list[bytes]]) -> bool:
    bounds = (
        np.array_equal(getattr(one[0].candidates, name), getattr(other[0].candidates, name))
        for name in ("rows", "low", "high")
    )
    return all(bounds) and one[1:] == other[1:]


WANTED = {
    "plain": {},
    "with metadata": {"metadata": True},
    "filtered": {"text": {"half": 1}, "metadata": True},
}


@pytest.mark.parametrize("kind", WANTED)
@asynchronous
async def test_answers_are_the_same_both_ways_and_the_later_way_brings_fewer_bytes(kind, segment):
    spent = {FAST: [0, 0], SLOW: [0, 0]}
    for query in QUERIES:
        wanted, answers = target(query, **WANTED[kind]), []
        for total in (FAST, SLOW):
            answer, rounds, nbytes = await (await opened(segment, total)).ask(wanted)
            answers.append(answer)
            spent[total][0] += rounds
            spent[total][1] += nbytes
        assert same(*answers)
        works = [answer[0].work for answer in answers]
        assert structs.replace(works[0], int8="") == structs.replace(works[1], int8="")
        if kind != "filtered":  # where few rows came along with others, none is sifted
            assert [work.int8 for work in works] == ["along", "later"]
    (along, more), (later, fewer) = spent[FAST], spent[SLOW]
    most = len(QUERIES) * (2 if kind == "filtered" else 1)
    least = 0 if kind == "filtered" else 1  # rows that came along with others need no int8 rows
    assert along + least <= later <= along + most
    assert fewer < more


@asynchronous
async def test_a_search_goes_by_the_rule_of_what_is_missing(segment):
    """On lines of many speeds, on both sides of the stated point."""
    wanted, ways, due = target(QUERIES[0]), [], []
    depth = 2 * wanted.limit + 1  # of `probing`
    for total in 10.0 ** np.arange(6, 10, 0.1):
        node = await opened(segment, total)
        codes = node.reader.codes
        probed = codes.partitioner.nearest(wanted.point, 1)
        whole, first = (
            np.unique(covering(*ranges)) for ranges in (codes.ranges(probed), codes.code_ranges(probed))
        )
        beside = np.setdiff1d(whole, first)
        due.append(not comes_along(len(beside), depth, 0.03, total))
        await node.ask(wanted)
        ways.append(codes.partial)
    assert ways == due
    assert set(ways) == {True, False}


@asynchronous
async def test_a_search_whose_codes_lie_apart_keeps_to_its_requests_unless_that_takes_long(segment, monkeypatch):
    monkeypatch.setattr(sparing, "_FEW", 0)
    for total, partial in ((2e7, False), (SLOW, True)):
        node = await opened(segment, total)
        await node.ask(target(QUERIES[0]))
        assert node.reader.codes.partial == partial
    monkeypatch.undo()
    node = await opened(segment, 2e7)
    await node.ask(target(QUERIES[0]))
    assert node.reader.codes.partial


@asynchronous
async def test_what_is_here_is_not_asked_for_again_either_way(segment):
    wanted = target(QUERIES[0], metadata=True)
    for total in (SLOW, FAST):
        node = await opened(segment, total)
        first, *_ = await node.ask(wanted)
        again, rounds, nbytes = await node.ask(wanted)
        assert same(first, again)
        assert (rounds, nbytes) == (0, 0)


@asynchronous
async def test_where_only_int8_rows_are_missing_those_of_candidates_are_fetched_however_fast_the_line(segment):
    wanted = target(QUERIES[0])
    node = await opened(segment, FAST)
    codes = node.reader.codes
    every = np.arange(len(codes.ends))
    assert search(segment.whole, wanted)[0].work.int8 == ""  # all of it is here

    def require(reader: SegmentReader) -> None:
        reader.codes.verify_codes(every)

    await node.call(require)
    answer, rounds, nbytes = await node.ask(wanted)
    whole, *_ = await (await opened(segment, FAST)).ask(wanted)
    assert same(answer, whole)
    starts, ends = codes.ranges(every)
    assert 0 < nbytes < (ends - starts).sum()
    assert rounds <= 2  # int8 rows, rows


@asynchronous
async def test_blocks_that_were_spared_are_not_counted_as_found_or_missed(segment):
    wanted = target(QUERIES[0])
    node = await opened(segment, SLOW)
    before = node.cache.counts
    await node.ask(wanted)
    first = node.cache.counts
    assert first.fetched - before.fetched == first.missed - before.missed
    await node.ask(wanted)
    second = node.cache.counts
    assert second.missed == first.missed
    held = sum(int(view.present.sum()) for view in node.reader.views)
    assert 0 < second.found_in_memory - first.found_in_memory <= held


@pytest.mark.parametrize("total", [SLOW, FAST])
@asynchronous
async def test_older_segments_have_their_partitions_whole_however_slow_the_line(total, segment):
    old = index_bytes(segment.built, sections={PARTITION_BLOCKS: None})
    for query in QUERIES:
        wanted = target(query, metadata=True)
        old_node, node = await opened(segment, total, old), await opened(segment, FAST)
        (answer, rounds, _), (whole, due, _) = await old_node.ask(wanted), await node.ask(wanted)
        assert same(answer, whole)
        assert rounds == due
        assert not old_node.reader.codes.partial


@pytest.mark.parametrize("total", [SLOW, FAST])
@asynchronous
async def test_damage_in_any_part_is_noticed_before_it_is_used_and_never_answers_wrong(total, segment):
    """In codes, int8 rows and places of texts; a search that does not use the damaged part goes on."""
    wanted = target(QUERIES[0], metadata=True)
    right, *_ = await (await opened(segment, total)).ask(wanted)
    node = await opened(segment, total)
    codes = node.reader.codes
    probed = np.arange(len(codes.ends))
    parts = {
        "codes": codes.code_ranges(probed),
        "int8": (codes.code_ranges(probed).ends, codes._text_ranges(probed).starts),
        "texts": codes._text_ranges(probed),
    }
    for name, (starts, ends) in parts.items():
        noticed = 0
        for position in (*starts.tolist(), *(ends - 1).tolist()):
            damaged = bytearray(segment.index)
            damaged[position] ^= 1
            try:
                answer, *_ = await (await opened(segment, total, bytes(damaged))).ask(wanted)
            except CorruptObjectError:
                noticed += 1
            else:
                assert same(answer, right)
        assert noticed > 0, name


@asynchronous
async def test_parts_of_partitions_are_found_on_disk_by_another_process(segment, tmp_path: Path):
    wanted = target(QUERIES[0], metadata=True)
    right = (await (await opened(segment, FAST)).ask(wanted))[0]
    for process in range(2):
        node = await opened(segment, SLOW, disk=DiskTier.open(tmp_path, 1 << 26))
        answer, _, nbytes = await node.ask(wanted)
        assert same(answer, right)
        assert (nbytes == 0) == (process == 1)
        await node.cache.settle()
        await node.cache.shut()


def test_nothing_is_had_in_parts_where_all_bytes_are_at_hand(segment, monkeypatch):
    reader = segment.whole
    assert not reader.codes.in_parts
    monkeypatch.setattr(type(reader.codes), "verify_codes", None)
    monkeypatch.setattr(type(reader.codes), "require_candidates", None)
    search(reader, target(QUERIES[0], metadata=True))
    assert not reader.codes.partial
