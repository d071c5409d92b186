"""What every codec does. Inherit the suite and name the class under test."""

from __future__ import annotations

import gc
import mmap
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import faiss
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ann.samples import TAME_SAMPLES, assert_hostile_states_are_refused, clustered, gaussian
from quiver.model.errors import CorruptObjectError

if TYPE_CHECKING:
    from quiver.ann.codec import Codec, Estimates, Scanner

DIMENSIONS = pytest.mark.parametrize("dimension", [1, 2, 7, 64, 300, 1536])
COUNTS = pytest.mark.parametrize("count", [1, 8])
INHERITED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
GAPS = (0, 8, 64, 200)  # bytes of something else between partitions


class Lists(NamedTuple):
    """Code lists as a segment holds them."""

    ends: np.ndarray
    buffer: np.ndarray
    offsets: np.ndarray


def lay_out(codes: np.ndarray, sizes: np.ndarray, codec: Codec | None = None) -> Lists:
    """Codes of rows in partition order, written as a segment index does, with other bytes in between."""
    ends, written, offsets = np.cumsum(sizes, dtype=np.int64), b"", []
    for partition, (size, end) in enumerate(zip(sizes, ends, strict=True)):
        written += b"\xa5" * (-len(written) % 8 + GAPS[partition % len(GAPS)])
        offsets.append(len(written))
        part = codes[end - size : end]
        written += (part if codec is None else codec.lay_out(part)).tobytes()
        written += np.arange(end - size, end, dtype="<i8").tobytes()
    return Lists(ends, np.frombuffer(written + b"\xa5" * 5, np.uint8), np.array(offsets, np.int64))


class Segment(NamedTuple):
    """Rows in partition order with their codec and codes."""

    codec: Codec
    rows: np.ndarray
    origins: np.ndarray
    assigned: np.ndarray
    lists: Lists

    def scanner(self) -> Scanner:
        return self.codec.scanner(self.lists, self.origins)

    def scan(self, query: np.ndarray, partitions=None, limit: int = 10**9, allowed=None) -> Estimates:
        partitions = np.arange(len(self.origins)) if partitions is None else np.array(partitions, np.int64)
        return self.scanner().scan(query, partitions, limit, allowed)


def decaying(rows: int, dimension: int) -> np.ndarray:
    """Rows whose variance falls from coordinate to coordinate, as that of embeddings does in their best basis."""
    return gaussian(rows, dimension) * np.arange(1, dimension + 1, dtype=np.float32) ** -0.7


def squares(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.square(rows.astype(np.float64) - query).sum(axis=1)


class CodecContract:
    """Set `codec`, how far down the true nearest may be, and how well a score estimates a squared distance."""

    codec: ClassVar[type[Codec]]
    within: ClassVar[int]
    """The first hits of a scan among which practically all of the true 10 nearest rows are."""
    reads_numbers: ClassVar[bool] = True
    """Whether it takes the numbers of rows from the lists."""
    error: ClassVar[float]
    """Bound of the mean of |score - squared distance| / squared distance, for far rows in many dimensions."""

    @pytest.fixture(autouse=True)
    def _one_thread(self):
        """Threads of faiss that wait for each other on a busy machine make small trainings take seconds."""
        before = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        yield
        faiss.omp_set_num_threads(before)

    def segment(self, rows: np.ndarray, count: int = 8, seed: int = 1) -> Segment:
        """Partitions round some of the rows, the last but one empty; or one partition round the zero vector."""
        if count == 1:
            origins = np.zeros((1, rows.shape[1]), np.float32)
        else:
            origins = np.resize(rows[:: max(1, len(rows) // count)], (count, rows.shape[1]))
        gaps = np.square(rows[:, None, :] - origins).sum(axis=2)
        if count > 1:
            gaps[:, -2] = np.inf
        assigned = gaps.argmin(axis=1)
        rows, assigned = rows[np.argsort(assigned, kind="stable")], np.sort(assigned)
        trained = self.codec.train(rows, assigned, origins, seed)
        codes = trained.encode_rows(rows, assigned, origins)
        lists = lay_out(codes, np.bincount(assigned, minlength=count), trained)
        return Segment(trained, rows, origins, assigned, lists)

    def found(self, segment: Segment, queries: np.ndarray) -> float:
        """Share of the true 10 nearest rows among the first `within` hits."""
        shares = []
        for query in queries:
            nearest = np.argsort(squares(query, segment.rows))[:10]
            shares.append(np.isin(nearest, segment.scan(query, limit=self.within).rows).mean())
        return float(np.mean(shares))

    @DIMENSIONS
    def test_codes_have_the_promised_size(self, dimension):
        rows, origins = gaussian(20, dimension), gaussian(2, dimension, seed=1)
        assigned = np.arange(20) % 2
        trained = self.codec.train(rows, assigned, origins, 1)
        codes = trained.encode_rows(rows, assigned, origins)
        assert (codes.shape, codes.dtype) == ((20, trained.code_size), np.uint8)
        assert trained.encode_rows(rows[:0], assigned[:0], origins).shape == (0, trained.code_size)

    @COUNTS
    @TAME_SAMPLES
    def test_a_scan_without_limit_finds_every_row_once(self, sample, count):
        segment = self.segment(sample, count)
        for query in (sample[0], segment.origins[0], -sample[-1], np.zeros_like(sample[0])):
            hits = segment.scan(query)
            assert (hits.rows.dtype, hits.scores.dtype) == (np.int64, np.float32)
            assert sorted(hits.rows.tolist()) == list(range(len(sample)))
            assert np.isfinite(hits.scores).all()
            assert (np.diff(hits.scores) >= 0).all()

    @COUNTS
    @DIMENSIONS
    def test_a_scan_finds_every_row_once_in_every_dimension(self, dimension, count):
        segment = self.segment(gaussian(40, dimension), count)
        for query in (gaussian(1, dimension, seed=5)[0], segment.origins[0]):
            assert sorted(segment.scan(query).rows.tolist()) == list(range(40))

    @given(data=st.data())
    @INHERITED
    def test_a_scan_finds_exactly_the_allowed_rows_of_the_asked_partitions(self, data):
        segment = self.segment(gaussian(150, 8))
        asked = data.draw(st.lists(st.integers(0, 7), unique=True))
        share = data.draw(st.sampled_from([0.0, 0.02, 0.5, 1.0]))
        seed = data.draw(st.integers(0, 2**32))
        allowed = np.random.default_rng(seed).random(150) < share
        query = gaussian(1, 8, seed=seed)[0]
        wanted = np.isin(segment.assigned, asked)
        everything = segment.scan(query, asked)
        assert sorted(everything.rows.tolist()) == np.flatnonzero(wanted).tolist()
        some = segment.scan(query, asked, allowed=allowed)
        assert sorted(some.rows.tolist()) == np.flatnonzero(wanted & allowed).tolist()
        scores = dict(zip(everything.rows.tolist(), everything.scores.tolist(), strict=True))
        assert some.scores.tolist() == [scores[row] for row in some.rows.tolist()]

    @pytest.mark.parametrize("filtered", [False, True])
    def test_a_limit_leaves_the_smallest_scores(self, filtered):
        segment, query = self.segment(gaussian(200, 16)), gaussian(1, 16, seed=2)[0]
        allowed = np.arange(200) % 3 > 0 if filtered else None
        everything = segment.scan(query, allowed=allowed)
        for limit in (1, 2, 50, len(everything.rows), len(everything.rows) + 1, 200, 201):
            hits = segment.scan(query, limit=limit, allowed=allowed)
            assert hits.scores.tolist() == everything.scores[:limit].tolist()
            assert len(set(hits.rows.tolist())) == len(hits.rows)

    def test_where_there_is_nothing_nothing_is_found(self):
        segment, query = self.segment(gaussian(100, 8)), gaussian(1, 8, seed=2)[0]
        empty = [
            segment.scan(query, []),
            segment.scan(query, [6]),
            segment.scan(query, limit=0),
            segment.scan(query, allowed=np.zeros(100, bool)),
            segment.scan(query, [6], allowed=np.ones(100, bool)),
        ]
        for hits in empty:
            assert (hits.rows.shape, hits.rows.dtype) == ((0,), np.int64)
            assert (hits.scores.shape, hits.scores.dtype) == ((0,), np.float32)

    def test_queries_and_rows_may_lie_anyhow_in_memory(self):
        segment, query = self.segment(gaussian(100, 16)), gaussian(1, 16, seed=2)[0]
        wanted = segment.scan(query)
        strided = np.repeat(query, 2)[::2]
        partitions = np.repeat(np.arange(8), 2)[::2]
        hits = segment.scanner().scan(strided, partitions, 100, np.repeat([True], 200)[::2])
        assert (hits.rows.tolist(), hits.scores.tolist()) == (wanted.rows.tolist(), wanted.scores.tolist())
        codes = segment.codec.encode_rows(segment.rows, segment.assigned, segment.origins)
        turned = segment.codec.encode_rows(np.asfortranarray(segment.rows), segment.assigned, segment.origins)
        assert (codes == turned).all()

    @COUNTS
    @pytest.mark.parametrize("scale", [1e-7, 1.0, 1e7])
    def test_the_nearest_rows_come_early(self, scale, count):
        rows = decaying(2020, 64) * np.float32(scale)
        assert self.found(self.segment(rows[:2000], count), rows[2000:]) >= 0.95

    def test_rows_with_few_coordinates_are_found_as_well(self):
        rng = np.random.default_rng(3)
        rows = np.where(rng.random((1020, 200)) < 0.05, rng.normal(size=(1020, 200)), 0).astype(np.float32)
        assert self.found(self.segment(rows[:1000]), rows[1000:]) >= 0.98

    @COUNTS
    @pytest.mark.parametrize("scale", [1e-7, 1.0, 1e7])
    def test_scores_estimate_squared_distances(self, scale, count):
        """So that hits of several segments compare."""
        segment = self.segment(gaussian(500, 256) * np.float32(scale), count)
        query = gaussian(1, 256, seed=4)[0] * np.float32(scale)
        hits = segment.scan(query)
        true = squares(query, segment.rows)[hits.rows]
        assert np.mean(np.abs(hits.scores - true) / true) < self.error

    @TAME_SAMPLES
    def test_the_same_seed_gives_the_same_codec_and_codes(self, sample):
        one, other = self.segment(sample, seed=5), self.segment(sample.copy(), seed=5)
        assert one.codec.encode() == other.codec.encode()
        assert one.lists.buffer.tobytes() == other.lists.buffer.tobytes()

    @pytest.mark.parametrize("seed", [0, 2**31, 2**63 - 1])
    def test_any_seed_will_do(self, seed):
        assert len(self.segment(gaussian(30, 8), seed=seed).scan(gaussian(1, 8)[0]).rows) == 30

    @pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 100])
    def test_codes_are_taken_up_as_they_were_laid_out(self, count):
        segment = self.segment(gaussian(100, 13))
        codes = segment.codec.encode_rows(segment.rows, segment.assigned, segment.origins)[:count]
        stored = segment.codec.lay_out(codes)
        block = segment.codec.block
        assert len(stored) == -(-count // block) * block * segment.codec.code_size
        assert np.array_equal(segment.codec.take_up(stored, count), codes)

    @DIMENSIONS
    def test_a_stored_codec_is_the_same_one(self, dimension):
        segment = self.segment(gaussian(60, dimension))
        stored = self.codec.decode(memoryview(segment.codec.encode()), dimension)
        assert (stored.code_size, stored.encode()) == (segment.codec.code_size, segment.codec.encode())
        codes = segment.codec.encode_rows(segment.rows, segment.assigned, segment.origins)
        assert stored.encode_rows(segment.rows, segment.assigned, segment.origins).tobytes() == codes.tobytes()
        before = segment.scan(segment.rows[3])
        after = segment._replace(codec=stored).scan(segment.rows[3])
        assert (before.rows.tolist(), before.scores.tolist()) == (after.rows.tolist(), after.scores.tolist())

    def test_hostile_state_is_refused(self):
        rows = gaussian(200, 8)
        assert_hostile_states_are_refused(
            self.codec, self.codec.train(rows, np.zeros(len(rows), np.int64), np.zeros_like(rows), 1).encode()
        )

    @given(data=st.data())
    @INHERITED
    def test_a_damaged_state_is_refused_or_that_of_another_codec(self, data):
        segment = self.segment(gaussian(60, 8))
        state = bytearray(segment.codec.encode())
        for _ in range(data.draw(st.integers(1, 4))):
            state[data.draw(st.integers(0, len(state) - 1))] = data.draw(st.integers(0, 255))
        try:
            damaged = self.codec.decode(memoryview(bytes(state)), 8)
        except CorruptObjectError:
            return
        codes = damaged.encode_rows(segment.rows, segment.assigned, segment.origins)
        assert codes.shape == (60, segment.codec.code_size)
        lists = lay_out(codes, np.bincount(segment.assigned, minlength=8), damaged)
        hits = segment._replace(codec=damaged, lists=lists).scan(segment.rows[0])
        assert sorted(hits.rows.tolist()) == list(range(60))

    def test_damaged_codes_give_wrong_scores_at_worst(self):
        segment = self.segment(gaussian(300, 8))
        codes = np.random.default_rng(1).integers(0, 256, (300, segment.codec.code_size), np.uint8)
        lists = lay_out(codes, np.bincount(segment.assigned, minlength=8), segment.codec)
        hits = segment._replace(lists=lists).scan(segment.rows[0], [0, 2])
        assert len(set(hits.rows.tolist())) == len(hits.rows)
        assert set(hits.rows.tolist()) <= set(np.flatnonzero(np.isin(segment.assigned, [0, 2])).tolist())

    @pytest.mark.parametrize("number", [-1, 100, 2**62, -(2**63)])
    @pytest.mark.parametrize("filtered", [False, True])
    def test_no_row_is_found_that_a_segment_has_not(self, number, filtered):
        """Numbers that are not there are damage; minus one and rows no filter allows may be passed over."""
        segment = self.segment(gaussian(100, 8))
        buffer = segment.lists.buffer.copy()
        codes = -(-segment.lists.ends[0] // segment.codec.block) * segment.codec.block
        start = segment.lists.offsets[0] + codes * segment.codec.code_size
        buffer[start : start + 8] = np.frombuffer(np.int64(number).tobytes(), np.uint8)
        hurt = segment._replace(lists=segment.lists._replace(buffer=buffer))
        try:
            hits = hurt.scan(segment.rows[0], allowed=np.ones(100, bool) if filtered else None)
        except CorruptObjectError:
            return
        assert filtered or number == -1 or not self.reads_numbers
        assert set(hits.rows.tolist()) <= set(range(100))

    def test_lists_outside_their_buffer_are_refused(self):
        segment = self.segment(gaussian(100, 8))
        ends, buffer, offsets = segment.lists
        broken = [
            (ends[:-1], buffer, offsets[:-1]),
            (ends, buffer, offsets[:-1]),
            (ends[:0], buffer, offsets[:0]),
            (ends, buffer[: offsets[-1]], offsets),
            (ends, buffer, offsets + len(buffer)),
            (ends, buffer, offsets - 8),
            (ends, buffer, np.full_like(offsets, 2**62)),
            (ends, buffer, np.full_like(offsets, -(2**63))),
            (ends[::-1].copy(), buffer, offsets),
            (ends + 10**9, buffer, offsets),
            (ends - 2**62, buffer, offsets),
            (np.append(ends[:-1], 2**63 - 1), buffer, offsets),
        ]
        for each in broken:
            with pytest.raises(CorruptObjectError):
                segment.codec.scanner(Lists(*each), segment.origins)
        with pytest.raises(CorruptObjectError):
            segment.codec.scanner(segment.lists, segment.origins[:-1])

    def test_a_scanner_keeps_the_bytes_it_scans(self):
        segment = self.segment(gaussian(2000, 64))
        before = segment.scan(segment.rows[0])
        lists = Lists(*(each.copy() for each in segment.lists))
        scanner = segment.codec.scanner(lists, segment.origins.copy())
        del lists
        gc.collect()
        litter = [np.full(len(segment.lists.buffer), 255, np.uint8) for _ in range(4)]
        after = scanner.scan(segment.rows[0], np.arange(8), 2000)
        assert (before.rows.tolist(), before.scores.tolist()) == (after.rows.tolist(), after.scores.tolist())
        assert len(litter) == 4

    def test_mapped_bytes_stay_mapped_when_a_scanner_goes(self):
        segment = self.segment(gaussian(500, 64))
        whole = segment.lists.buffer.tobytes()
        with mmap.mmap(-1, len(whole)) as mapped:
            mapped[:] = whole
            lists = segment.lists._replace(buffer=np.frombuffer(mapped, np.uint8))
            for _ in range(3):
                scanner = segment.codec.scanner(lists, segment.origins)
                assert len(scanner.scan(segment.rows[0], np.arange(8), 5).rows) == 5
                del scanner
                gc.collect()
            assert lists.buffer.tobytes() == whole
            del lists

    def test_several_threads_may_scan_at_once(self):
        segment = self.segment(clustered(3000, 64, 20))
        scanner, queries = segment.scanner(), gaussian(40, 64, seed=6)
        allowed = np.arange(3000) % 5 > 0

        def one(turn: int) -> tuple[list[int], list[float]]:
            query, mask = queries[turn % 40], allowed if turn % 2 else None
            hits = scanner.scan(query, np.arange(turn % 40 % 8 + 1), 50, mask)
            return hits.rows.tolist(), hits.scores.tolist()

        alone = [one(turn) for turn in range(40)]
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(one, range(200))) == alone * 5

    def test_hits_do_not_depend_on_the_threads_faiss_may_use(self):
        segment, found = self.segment(clustered(3000, 64, 20)), []
        for threads in (1, 2, 4):
            faiss.omp_set_num_threads(threads)
            hits = segment.scan(segment.rows[5], limit=100)
            found.append((hits.rows.tolist(), hits.scores.tolist()))
        assert found[0] == found[1] == found[2]
