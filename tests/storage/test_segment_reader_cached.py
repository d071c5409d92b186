"""Readers through a cache do what readers of whole objects do: the same answers and errors, never a wrong byte."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynchronous import asynchronous
from quiver.format import segment_index
from quiver.format.keys import key_hashes
from quiver.model.errors import CorruptObjectError, DataError, UnsupportedFormatError
from quiver.model.filter_parser import parse_filter
from quiver.model.runtime import SystemRuntime
from quiver.model.types import DistanceMetric, IndexSpec
from quiver.objectstore.memory import MemoryStore
from quiver.storage.cache.block_cache import BlockCache
from quiver.storage.cache.disk_tier import DiskTier
from quiver.storage.cache.view import BLOCK
from quiver.storage.index_sections import HEAD_BYTES, IndexSections
from quiver.storage.segment_audit import audit_segment
from quiver.storage.segment_reader import SegmentReader
from storage.segments import INDEX_KEY, PARTITIONED, ROWS_KEY, SEGMENT, built, flat_spec, index_bytes, read, sample
from storage.tape import OWNER, ROOT
from storage.test_segment_codes import version_1
from storage.test_segment_reader import FORGERIES, PLAIN_FORGERIES, SEGMENTS, flips, padding_of, use_everything

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from quiver.storage.segment_builder import BuiltSegment

PLENTY = 1 << 30
BUDGETS = pytest.mark.parametrize("budget", [0, PLENTY], ids=["no memory", "plenty of memory"])


class RemoteStore(MemoryStore):
    """A store that is read by blocks, and whose objects can be replaced behind the cache's back."""

    resident = False

    async def replace(self, key: str, body: bytes) -> None:
        await self.delete([key])
        await self.put_new(key, [body])


class Remote:
    """A segment in such a store, read through a cache."""

    reader: SegmentReader

    def __init__(self, budget: int, disk: DiskTier | None = None) -> None:
        self.runtime = SystemRuntime(threads=1)
        self.store = RemoteStore(self.runtime)
        self.cache = BlockCache(self.store, self.runtime, budget, disk)
        self.cache.pace.seconds = 0  # blocks that were not asked for stay away
        self.cache.pace.note = lambda *_: None  # however busy the machine is

    async def place(self, index: bytes, rows: bytes | memoryview) -> None:
        await self.store.replace(INDEX_KEY, index)
        await self.store.replace(ROWS_KEY, bytes(rows))

    async def open(self, index_size: int, head: int = HEAD_BYTES) -> SegmentReader:
        """As the engine opens a segment, whose index object is of a known size."""
        view = self.cache.open(INDEX_KEY, index_size)
        sections = await self.cache.complete(partial(IndexSections, INDEX_KEY, OWNER, view, head))
        self.reader = SegmentReader(ROOT, SEGMENT, sections, self.cache.open)
        return self.reader

    async def call(self, work: Callable[[SegmentReader], Any]) -> Any:
        return await self.cache.complete(lambda: work(self.reader))

    def drop_all(self) -> int:
        """Drop every block, as want of memory does between two queries."""
        before = self.cache.counts.dropped
        self.cache.shrink(0)
        assert self.cache.nbytes == 0
        return self.cache.counts.dropped - before


async def opened_remotely(index: bytes, rows: bytes | memoryview, budget: int, head: int = HEAD_BYTES) -> Remote:
    remote = Remote(budget)
    await remote.place(index, rows)
    await remote.open(len(index), head)
    return remote


# ---------------------------------------------------------------- the same answers

LARGE = sample(3000, 64)
DIMENSION = 64
CODED_SPEC = IndexSpec(DIMENSION, DistanceMetric.EUCLIDEAN, ("secret",), "kmeans", "rabitq", 0.95)
SQ8_SPEC = IndexSpec(DIMENSION, DistanceMetric.COSINE, ("secret",), "kdtree", "sq8", 0.95)
TREE_SPEC = IndexSpec(DIMENSION, DistanceMetric.COSINE, ("secret",), "kdtree", "flat", 0.95)
PLAIN_SPEC = flat_spec(DIMENSION)
SPECS = {"coded": CODED_SPEC, "sq8": SQ8_SPEC, "tree": TREE_SPEC, "plain": PLAIN_SPEC}
LARGE_SEGMENTS = {name: built(LARGE, spec, PARTITIONED) for name, spec in SPECS.items() if name != "plain"}
LARGE_SEGMENTS["plain"] = built(LARGE, PLAIN_SPEC)
OF_EACH_FORM = pytest.mark.parametrize("form", SPECS)
QUERY = LARGE.vectors[7] + np.float32(0.1)


def scanned(reader: SegmentReader, probed: np.ndarray) -> list[Any]:
    codes = reader.codes
    if codes.scanner is None:
        return []
    codes.verify_partitions(probed)
    hits = codes.scanner.scan(QUERY, probed, 40)
    held = [part.copy() for number in probed.tolist() for part in codes.contents(number)]
    rows = np.concatenate([np.arange(codes.starts[each], codes.ends[each]) for each in probed.tolist()])
    int8 = codes.int8_rows(rows) if codes.refiner is not None else b""
    return [hits.rows, hits.scores, *held, int8, codes.text_places(rows)]


def looked_up(reader: SegmentReader, rows: np.ndarray) -> np.ndarray:
    keys = [f"key-{row}" for row in rows[:50].tolist()] + ["absent", "key--1", "key-3000", ""]
    return reader.find(keys, key_hashes(keys))


def selected(reader: SegmentReader, rows: np.ndarray) -> list[int]:
    return list(reader.columns.select(parse_filter({"n": {"$in": rows[:50].tolist() or [-1]}})))


def probed_by(reader: SegmentReader, rows: np.ndarray) -> np.ndarray:
    return np.unique(np.searchsorted(reader.codes.ends, rows, "right"))


def blocks_between(reader: SegmentReader, rows: np.ndarray) -> list[Any]:
    low, high = (int(rows.min()), int(rows.max()) + 1) if len(rows) else (0, 0)
    return [(first, block.copy()) for first, block in reader.blocks(low, high)]


METHODS: dict[str, Callable[[SegmentReader, np.ndarray], Any]] = {
    "vectors": lambda reader, rows: reader.take_vectors(rows),
    "distances": lambda reader, rows: reader.distances(rows, QUERY, DistanceMetric.EUCLIDEAN),
    "keys": lambda reader, rows: reader.keys_of(rows),
    "key": lambda reader, rows: [reader.key(row) for row in rows[:20].tolist()],
    "metadata": lambda reader, rows: reader.metadata_of(rows),
    "find": looked_up,
    "blocks": blocks_between,
    "columns": selected,
    "norms": lambda reader, rows: reader.norms[rows],
    "hashes": lambda reader, rows: [reader.key_hashes, reader.key_rows, reader.block_digests],
    "scan": lambda reader, rows: scanned(reader, probed_by(reader, rows)) if len(rows) else [],
    "partitions": lambda reader, rows: [reader.codes.ends, reader.codes.radii, reader.codes.sizes],
    "calibration": lambda reader, rows: reader.codes.calibration and reader.codes.calibration.encode(),
    "rows": lambda reader, rows: reader.verify_rows(),
    "everything": lambda reader, rows: reader.verify(),
}


def same(one: Any, other: Any) -> bool:
    """Whether two answers are the same to the last bit."""
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(type(one) is type(other) and one == other)


ROW_SETS = {
    "none": np.zeros(0, np.int64),
    "the first": np.array([0]),
    "the last": np.array([2999]),
    "some twice": np.array([5, 2999, 5, 0, 1500, 1500]),
    "many": np.random.default_rng(3).integers(0, 3000, 200),
    "all": np.arange(3000),
}


def test_the_segments_are_of_several_blocks():
    for form, segment in LARGE_SEGMENTS.items():
        assert len(segment.rows_file) > 10 * BLOCK
        assert len(index_bytes(segment)) > (4 if segment.footer.code_size else 1) * BLOCK, form
        assert segment.footer.text_size == (16 if form in ("coded", "sq8") else 0)


@BUDGETS
@OF_EACH_FORM
@pytest.mark.parametrize("head", [1, HEAD_BYTES])
@asynchronous
async def test_every_method_answers_as_over_whole_objects(form, budget, head):
    segment = LARGE_SEGMENTS[form]
    index, whole = index_bytes(segment), read(index_bytes(segment), segment.rows_file)
    remote = await opened_remotely(index, segment.rows_file, budget, head)
    assert (remote.reader.rows, remote.reader.structure) == (whole.rows, whole.structure)
    for rows in ROW_SETS.values():
        for name, method in METHODS.items():
            assert same(await remote.call(partial(method, rows=rows)), method(whole, rows)), name
        remote.drop_all()
    assert remote.cache.counts.dropped > 0
    assert remote.cache.counts.requests > 0


@OF_EACH_FORM
@asynchronous
async def test_every_method_answers_the_same_from_the_disk(form, tmp_path):
    """Of one process while it fetches, then when the disk has it; and of another that finds some of it damaged."""
    segment = LARGE_SEGMENTS[form]
    index, whole = index_bytes(segment), read(index_bytes(segment), segment.rows_file)
    for process in range(2):
        remote = Remote(PLENTY, DiskTier.open(tmp_path, 1 << 28))
        await remote.place(index, segment.rows_file)
        await remote.open(len(index))
        for _ in range(2):
            for name, method in METHODS.items():
                for rows in (ROW_SETS["some twice"], ROW_SETS["many"]):
                    assert same(await remote.call(partial(method, rows=rows)), method(whole, rows)), name
            await remote.cache.settle()
        counts = remote.cache.counts
        assert counts.found_on_disk > counts.missed
        assert counts.disk.damaged == (2 if process else 0)
        assert counts.fetched >= counts.disk.admitted >= counts.missed  # a block may be fetched along twice
        assert counts.missed == 2 or not process
        await remote.cache.shut()
        for path in tmp_path.glob("0/*.blocks"):  # the block in the middle of each
            with path.open("r+b") as file:
                file.seek(path.stat().st_size // 2)
                file.write(bytes(8) if file.read(8) != bytes(8) else b"12345678")


@BUDGETS
@OF_EACH_FORM
@asynchronous
async def test_each_method_fetches_for_itself_what_it_needs(form, budget):
    """Alone on a new reader, and again after all blocks were dropped."""
    segment = LARGE_SEGMENTS[form]
    index, whole = index_bytes(segment), read(index_bytes(segment), segment.rows_file)
    for name, method in METHODS.items():
        remote = await opened_remotely(index, segment.rows_file, budget)
        for rows in (ROW_SETS["some twice"], ROW_SETS["the last"]):
            assert same(await remote.call(partial(method, rows=rows)), method(whole, rows)), name
            remote.drop_all()


@settings(max_examples=25, deadline=None)
@given(
    form=st.sampled_from([*SPECS]),
    blocks=st.integers(0, 12),
    steps=st.lists(
        st.tuples(
            st.sampled_from([*METHODS]), st.lists(st.integers(0, 2999), min_size=1, max_size=8), st.booleans()
        ),
        min_size=1,
        max_size=12,
    ),
)
def test_answers_are_the_same_in_any_order_under_any_budget(form, blocks, steps):
    segment = LARGE_SEGMENTS[form]
    index, whole = index_bytes(segment), read(index_bytes(segment), segment.rows_file)

    @asynchronous
    async def run() -> None:
        remote = await opened_remotely(index, segment.rows_file, blocks * BLOCK)
        for name, chosen, drop in steps:
            rows = np.array(chosen)
            assert same(await remote.call(partial(METHODS[name], rows=rows)), METHODS[name](whole, rows)), name
            if drop:
                remote.drop_all()

    run()


@BUDGETS
@OF_EACH_FORM
@asynchronous
async def test_sound_segments_pass_the_audit(form, budget):
    segment = LARGE_SEGMENTS[form]
    remote = await opened_remotely(index_bytes(segment), segment.rows_file, budget)
    await remote.call(partial(audit_segment, spec=SPECS[form]))
    remote.drop_all()
    await remote.call(partial(audit_segment, spec=SPECS[form]))


@BUDGETS
@asynchronous
async def test_a_segment_of_version_1_is_read(monkeypatch, budget):
    monkeypatch.setattr(segment_index, "BLOCK_BYTES", 1 << 20)
    segment = built(LARGE, PLAIN_SPEC)
    index = version_1(segment)
    remote = await opened_remotely(index, segment.rows_file, budget)
    whole = read(index, segment.rows_file)
    for name, method in METHODS.items():
        for rows in (ROW_SETS["some twice"], ROW_SETS["many"]) if name != "partitions" else ():  # it has no radii
            assert same(await remote.call(partial(method, rows=rows)), method(whole, rows)), name
            remote.drop_all()


# ---------------------------------------------------------------- the same errors


def outcome(work: Callable[[], Any]) -> str:
    try:
        work()
    except (CorruptObjectError, UnsupportedFormatError) as error:
        return type(error).__name__
    return "sound"


async def remote_outcome(index: bytes, rows: bytes | memoryview, budget: int, segment: BuiltSegment) -> str:
    try:
        remote = await opened_remotely(index, rows, budget)
        for _ in range(2):
            await remote.call(lambda reader: use_everything(reader, segment))
            remote.drop_all()
    except (CorruptObjectError, UnsupportedFormatError) as error:
        return type(error).__name__
    return "sound"


def flipped(data: bytes | memoryview, position: int) -> bytes:
    damaged = bytearray(data)
    damaged[position] ^= 1 << position % 8
    return bytes(damaged)


@BUDGETS
@pytest.mark.parametrize("name", SEGMENTS)
@asynchronous
async def test_flipped_bits_of_the_index_are_noticed_as_over_whole_objects(name, budget):
    segment, _ = SEGMENTS[name]
    index = index_bytes(segment)
    padding = padding_of(index)
    padding[:8] = True  # the magic at the start is not fetched for itself
    for position in flips(index, 600)[:: 3 if budget else 6]:
        found = await remote_outcome(flipped(index, position), segment.rows_file, budget, segment)
        assert (found == "sound") == padding[position], position


@BUDGETS
@pytest.mark.parametrize("name", SEGMENTS)
@asynchronous
async def test_flipped_bits_of_the_rows_are_noticed(name, budget):
    segment, _ = SEGMENTS[name]
    index = index_bytes(segment)
    for position in flips(segment.rows_file, 500)[:: 2 if budget else 4]:
        found = await remote_outcome(index, flipped(segment.rows_file, position), budget, segment)
        assert found == "CorruptObjectError", position


@BUDGETS
@pytest.mark.parametrize(("name", "forgery"), [
    *(("coded", forgery) for forgery in FORGERIES),
    *(("plain", forgery) for forgery in PLAIN_FORGERIES),
])  # fmt: skip
@asynchronous
async def test_lies_under_valid_checksums_raise_the_errors_that_whole_objects_raise(name, forgery, budget):
    segment = SEGMENTS[name][0]
    lie = (FORGERIES if name == "coded" else PLAIN_FORGERIES)[forgery]
    index = index_bytes(segment, **lie)
    whole = outcome(lambda: use_everything(read(index, segment.rows_file), segment))
    assert whole != "sound"
    assert await remote_outcome(index, segment.rows_file, budget, segment) == whole


LARGE_CODED = LARGE_SEGMENTS["coded"]
LARGE_LIES: dict[str, dict[str, Any]] = {
    "codes of many bytes": {"footer": {"code_size": 1000}},
    "codes of few bytes": {"footer": {"code_size": 1}},
    "no int8 rows": {"footer": {"int8_size": 0}},
    "no places of texts": {
        "footer": {"text_size": 0},
        "sections": {"key_offsets": None, "metadata_offsets": None},
    },
    "half of the partitions": {"sections": {"partitions": bytes(LARGE_CODED.sections["partitions"])[: 2 * BLOCK]}},
    "twice the partitions": {"sections": {"partitions": bytes(LARGE_CODED.sections["partitions"]) * 2}},
    "no partitions": {"sections": {"partitions": b""}},
}


@BUDGETS
@pytest.mark.parametrize("lie", LARGE_LIES)
@asynchronous
async def test_lies_that_lead_past_the_blocks_of_an_object_raise_data_errors(lie, budget):
    index, rows = index_bytes(LARGE_CODED, **LARGE_LIES[lie]), LARGE_CODED.rows_file
    for name in ("keys", "metadata", "find", "scan", "key"):
        call = partial(METHODS[name], rows=ROW_SETS["some twice"])
        with pytest.raises(DataError):
            call(read(index, rows))
        remote = await opened_remotely(index, rows, budget)
        with pytest.raises(DataError):
            await remote.call(call)


async def open_and_verify(remote: Remote, index_size: int) -> None:
    await remote.open(index_size)
    await remote.call(SegmentReader.verify)


@BUDGETS
@pytest.mark.parametrize("key", [INDEX_KEY, ROWS_KEY])
@asynchronous
async def test_objects_cut_short_are_noticed(key, budget):
    segment = LARGE_SEGMENTS["coded"]
    index, rows = index_bytes(segment), bytes(segment.rows_file)
    size = len(index if key == INDEX_KEY else rows)
    for length in (0, 1, BLOCK - 1, BLOCK, size // 2, size - 1):
        remote = Remote(budget)
        await remote.place(*((index[:length], rows) if key == INDEX_KEY else (index, rows[:length])))
        with pytest.raises(CorruptObjectError):
            await open_and_verify(remote, len(index))


@BUDGETS
@pytest.mark.parametrize("wrong", [-1, 1, -BLOCK, BLOCK])
@asynchronous
async def test_an_index_object_of_another_size_than_was_said_is_noticed(wrong, budget):
    segment = LARGE_SEGMENTS["coded"]
    index = index_bytes(segment)
    remote = Remote(budget)
    await remote.place(index, segment.rows_file)
    with pytest.raises(CorruptObjectError):
        await remote.open(len(index) + wrong)


# ---------------------------------------------------------------- damage that comes later


def places(segment: BuiltSegment) -> Iterator[tuple[str, int]]:
    """Object keys and positions: both ends of all blocks of the rows and of `partitions`."""
    section = segment_index.decode_footer(INDEX_KEY, OWNER, memoryview(index_bytes(segment))).sections[
        "partitions"
    ]
    for key, start, end in ((INDEX_KEY, section.offset, section.offset + section.length),
                            (ROWS_KEY, 0, len(segment.rows_file))):  # fmt: skip
        for block in range(start // BLOCK, -(-end // BLOCK) if start < end else 0):
            low, high = max(start, block * BLOCK), min(end, (block + 1) * BLOCK)
            yield from ((key, position) for position in (low, high - 1))


@BUDGETS
@pytest.mark.parametrize("form", ["coded", "plain"])
@asynchronous
async def test_damage_done_while_blocks_were_away_is_noticed_when_they_come_again(form, budget):
    segment = LARGE_SEGMENTS[form]
    index, rows, every = index_bytes(segment), bytes(segment.rows_file), np.arange(0, 3000, 7)
    whole = read(index, rows)

    def use(reader: SegmentReader) -> list[Any]:
        if segment.footer.code_size:
            reader.codes.verify_partitions(np.arange(len(reader.codes.ends)))
        reader.verify_rows()
        return [reader.take_vectors(every), reader.keys_of(every), reader.metadata_of(every)]

    remote = await opened_remotely(index, rows, budget)
    wanted = use(whole)
    for key, position in places(segment):
        await remote.place(index, rows)
        remote.drop_all()
        assert same(await remote.call(use), wanted)
        await remote.store.replace(key, flipped(index if key == INDEX_KEY else rows, position))
        if budget:
            assert same(await remote.call(use), wanted), "blocks that stayed are right"
        remote.drop_all()
        for _ in range(2):
            with pytest.raises(CorruptObjectError):
                await remote.call(use)


@pytest.mark.parametrize("method", METHODS)
@asynchronous
async def test_no_method_ever_gives_a_wrong_answer_from_damaged_blocks(method):
    """Each of many blocks is damaged in turn while it is away; what does not need it goes on."""
    segment = LARGE_SEGMENTS["coded"]
    index, rows = index_bytes(segment), bytes(segment.rows_file)
    whole, call = read(index, rows), partial(METHODS[method], rows=ROW_SETS["some twice"])
    wanted, refused = call(whole), 0
    remote = await opened_remotely(index, rows, 0)
    assert same(await remote.call(call), wanted)
    for key, position in places(segment):
        remote.drop_all()
        await remote.place(index, rows)
        await remote.store.replace(key, flipped(index if key == INDEX_KEY else rows, position))
        try:
            assert same(await remote.call(call), wanted), (key, position)
        except CorruptObjectError:
            refused += 1
        remote.drop_all()
        await remote.place(index, rows)
        assert same(await remote.call(call), wanted), "sound again"
    assert (refused > 0) == (method not in {"columns", "norms", "hashes", "partitions", "calibration"})


@pytest.mark.parametrize("block_bytes", [1 << 10, 1 << 14, 100_000, 1 << 20])
@asynchronous
async def test_rows_are_checked_again_whatever_the_size_of_their_checksummed_blocks(monkeypatch, block_bytes):
    monkeypatch.setattr(segment_index, "BLOCK_BYTES", block_bytes)
    segment = built(LARGE, PLAIN_SPEC)
    assert segment.footer.block_bytes == block_bytes
    index, rows, every = index_bytes(segment), bytes(segment.rows_file), np.arange(3000)
    remote = await opened_remotely(index, rows, 0)
    for position in range(5000, len(rows), 60_000):
        await remote.store.replace(ROWS_KEY, rows)
        remote.drop_all()
        assert same(await remote.call(lambda reader: reader.take_vectors(every)), LARGE.vectors)
        await remote.call(SegmentReader.verify_rows)
        await remote.store.replace(ROWS_KEY, flipped(rows, position))
        remote.drop_all()
        with pytest.raises(DataError):
            await remote.call(SegmentReader.verify_rows)


# ---------------------------------------------------------------- rows that are here


@asynchronous
async def test_vectors_that_are_here_are_scored_without_a_request_and_others_are_left_alone():
    segment = LARGE_SEGMENTS["coded"]
    remote = await opened_remotely(index_bytes(segment), segment.rows_file, PLENTY)
    rows, metric = np.arange(0, 3000, 61), DistanceMetric.EUCLIDEAN
    assert await remote.call(lambda reader: reader.distances_here(rows, QUERY, metric)) is None
    due = await remote.call(lambda reader: reader.distances(rows, QUERY, metric))
    view, before = remote.reader.views[1], remote.cache.counts
    used = view.used.copy()
    np.testing.assert_array_equal(
        await remote.call(lambda reader: reader.distances_here(rows, QUERY, metric)), due
    )
    after = remote.cache.counts
    assert (after.requests, after.found_in_memory > before.found_in_memory) == (before.requests, True)
    touched = view.used > used
    assert touched.any()
    view.drop(np.flatnonzero(touched)[:1], view.used.max() + 1)
    used = view.used.copy()
    assert await remote.call(lambda reader: reader.distances_here(rows, QUERY, metric)) is None
    np.testing.assert_array_equal(view.used, used)


@asynchronous
async def test_vectors_that_came_along_are_verified_before_they_are_scored():
    segment = LARGE_SEGMENTS["coded"]
    wrong = bytearray(segment.rows_file)
    remote = await opened_remotely(index_bytes(segment), segment.rows_file, PLENTY)
    start = remote.reader._footer.runs[0].offset
    wrong[start] ^= 1
    await remote.store.replace(ROWS_KEY, bytes(wrong))
    await remote.call(lambda reader: reader._view.require(0, len(wrong)))
    with pytest.raises(CorruptObjectError, match="checksum"):
        await remote.call(
            lambda reader: reader.distances_here(np.zeros(1, np.int64), QUERY, DistanceMetric.COSINE)
        )
