"""Tests of open segments: rows by number, key and range, and damage noticed before it is used."""

from __future__ import annotations

import itertools
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynchronous import asynchronous
from quiver.ann.calibration import Calibration
from quiver.ann.distance import distances
from quiver.format import paths, rows_parquet, segment_index
from quiver.format.keys import key_hashes
from quiver.model.errors import CorruptObjectError, DataError, UnsupportedFormatError
from quiver.model.filter_parser import parse_filter
from quiver.model.types import DistanceMetric, IndexSpec, VectorBatch
from quiver.objectstore.store import ObjectNotFoundError
from quiver.storage import row_source, segment_builder
from quiver.storage.row_source import RowSource, SegmentsSource
from quiver.storage.segment_audit import audit_segment
from quiver.storage.segment_reader import SegmentReader
from storage.segments import (
    INDEX_KEY,
    PARTITIONED,
    SEGMENT,
    built,
    flat_spec,
    forged,
    index_bytes,
    opened,
    read,
    sample,
    write_segment,
)
from storage.tape import OWNER, ROOT

# ---------------------------------------------------------------- reading


@pytest.mark.parametrize(("rows", "dimension"), [(1, 1), (5, 4096), (300, 3), (1000, 96)])
@pytest.mark.parametrize("group_bytes", [64 << 20, 4096])
def test_what_is_written_is_read(monkeypatch, rows, dimension, group_bytes):
    monkeypatch.setattr(rows_parquet, "GROUP_BYTES", group_bytes)
    batch = sample(rows, dimension)
    reader = opened(batch, flat_spec(dimension))
    assert (reader.rows, reader.dimension, reader.structure) == (rows, dimension, ("single", "flat"))
    assert [reader.key(row) for row in range(rows)] == batch.keys
    assert reader.metadata_of(range(rows)) == batch.metadata
    blocks = list(reader.blocks())
    assert (np.concatenate([block for _, block in blocks]) == batch.vectors).all()
    step = rows_parquet.rows_per_group(dimension)
    assert [first for first, _ in blocks] == list(range(0, rows, step))
    np.testing.assert_allclose(reader.norms, np.linalg.norm(batch.vectors.astype(float), axis=1), rtol=1e-7)
    reader.check_spec(flat_spec(dimension))
    audit_segment(reader, flat_spec(dimension))


@settings(max_examples=60)
@given(data=st.data())
def test_rows_are_taken_across_row_groups_and_block_borders(data):
    dimension = data.draw(st.integers(1, 9))
    rows = data.draw(st.integers(1, 60))
    group = data.draw(st.integers(1, 70))
    block = data.draw(st.integers(1, 200))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_parquet, "GROUP_BYTES", 4 * dimension * group)
        patch.setattr(segment_index, "BLOCK_BYTES", block)
        batch = sample(rows, dimension)
        reader = opened(batch, flat_spec(dimension))
    chosen = np.array(data.draw(st.lists(st.integers(0, rows - 1), max_size=20)), np.int64)
    taken = reader.take_vectors(chosen)
    assert taken.shape == (len(chosen), dimension)
    assert taken.tobytes() == batch.vectors[chosen].tobytes()
    for metric in DistanceMetric:
        wanted = distances(batch.vectors[0], taken, metric)
        assert reader.distances(chosen, batch.vectors[0], metric).tobytes() == wanted.tobytes()
    low, high = sorted(data.draw(st.tuples(st.integers(0, rows), st.integers(0, rows))))
    parts = list(reader.blocks(low, high))
    assert b"".join(part.tobytes() for _, part in parts) == batch.vectors[low:high].tobytes()
    assert all(first // group != second // group for (first, _), (second, _) in itertools.pairwise(parts))
    assert [reader.key(int(row)) for row in chosen] == [batch.keys[row] for row in chosen]


def test_taken_rows_belong_to_the_caller():
    reader = opened(sample(10, 3), flat_spec(3))
    taken = reader.take_vectors(np.arange(3))
    taken[:] = 0
    assert reader.take_vectors(np.arange(3)).all()


def test_only_the_blocks_that_are_used_are_verified(monkeypatch):
    monkeypatch.setattr(segment_index, "BLOCK_BYTES", 256)
    batch = sample(200, 8)
    segment = built(batch, flat_spec(8))
    (run,) = segment.footer.runs
    data = bytearray(segment.rows_file)
    data[run.offset + 32 * 100 + 5] ^= 1  # in row 100
    reader = read(index_bytes(segment), bytes(data))
    block = (run.offset + 32 * 100 + 5) // 256
    touched = [
        row for row in range(200) if (run.offset + 32 * row) // 256 <= block <= (run.offset + 32 * row + 31) // 256
    ]
    others = np.setdiff1d(np.arange(200), touched)
    assert (reader.take_vectors(others) == batch.vectors[others]).all()
    for row in touched:
        for _ in range(2):  # and it stays unusable
            with pytest.raises(CorruptObjectError, match=f"block {block} "):
                reader.take_vectors(np.array([row]))
            with pytest.raises(CorruptObjectError, match=f"block {block} "):
                reader.distances(np.array([row]), batch.vectors[0], DistanceMetric.EUCLIDEAN)
    with pytest.raises(CorruptObjectError):
        list(reader.blocks())


# ---------------------------------------------------------------- keys


def test_keys_are_found_by_hash_and_told_apart_by_bytes(monkeypatch):
    batch = sample(200, 2)
    wanted = ["key-150", "absent", "key-0", "key-199", ""]
    reader = opened(batch, flat_spec(2))
    assert reader.find(wanted, key_hashes(wanted)).tolist() == [150, -1, 0, 199, -1]
    assert reader.find([], key_hashes([])).tolist() == []
    assert (reader.key_hashes[1:] >= reader.key_hashes[:-1]).all()
    # All keys collide: only their bytes tell them apart.
    monkeypatch.setattr(row_source, "utf8_hashes", lambda keys: np.full(len(keys), 9, np.uint64))
    reader = opened(batch, flat_spec(2))
    assert reader.find(wanted, np.full(5, 9, np.uint64)).tolist() == [150, -1, 0, 199, -1]


def test_keys_are_read_as_text_and_as_utf8():
    keys = ["", "a", "\u00e9", "nul\0", "\U0001f3f9\0"]
    batch = sample(len(keys), 2)
    reader = opened(VectorBatch(keys, batch.vectors, batch.metadata), flat_spec(2))
    rows = reader.find(keys, key_hashes(keys))
    assert reader.keys_of(rows) == keys
    assert reader.key_bytes_of(rows) == [key.encode() for key in keys]
    assert reader.key_bytes_of([]) == []
    assert SegmentsSource([reader], [np.arange(reader.rows)], 2).texts(rows)[0] == reader.key_bytes_of(rows)


@pytest.mark.parametrize(
    "keys", [[b"\xed\xa0\x80"], [b"k\xc3", b"\xa9ey"], [b"\xf0\x9f\x8f", b"\xb9"], [b"\xff", b""]]
)
def test_a_key_that_is_not_utf8_raises_a_data_error(keys):
    reader = forged(segment_builder.build_segment(BytesSource([b"one", *keys, b"two"]), flat_spec(2)))
    merged = SegmentsSource([reader], [np.arange(reader.rows)], 2)
    for read_keys in (reader.keys_of, reader.key_bytes_of, merged.texts):
        with pytest.raises(CorruptObjectError, match="UTF-8"):
            read_keys(np.arange(reader.rows))
    with pytest.raises(CorruptObjectError, match="UTF-8"):
        segment_builder.build_segment(merged, flat_spec(2))


class BytesSource(RowSource):
    """Rows whose keys are any bytes."""

    def __init__(self, keys: list[bytes]) -> None:
        self.rows, self.dimension, self._keys = len(keys), 2, keys

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        return np.ones((len(rows), 2), np.float32)

    def texts(self, rows: np.ndarray) -> tuple[list[bytes], list[bytes]]:
        return [self._keys[row] for row in rows], [b"{}"] * len(rows)


@given(present=st.sets(st.integers(0, 199), max_size=20), absent=st.sets(st.integers(), max_size=20))
def test_keys_are_found_with_and_without_the_filter(present, absent):
    asked = [f"key-{n}" for n in present] + [f"other-{n}" for n in absent]
    wanted = [*present] + [-1] * len(absent)
    assert WITH_FILTER.find(asked, key_hashes(asked)).tolist() == wanted
    assert PASSING.find(asked, key_hashes(asked)).tolist() == wanted


SEGMENT_200 = built(sample(200, 2), flat_spec(2))
WITH_FILTER = forged(SEGMENT_200)
PASSING = forged(SEGMENT_200, sections={"key_filter": np.full(8, 2**32 - 1, np.uint32)})


def test_absent_keys_are_denied_without_reading_the_hashes():
    damaged = forged(SEGMENT_200, sections={"key_hashes": b"", "key_rows": b""})
    absent = [f"absent-{n}" for n in range(20)]
    absent = [key for key in absent if not damaged.key_filter.may_hold(key_hashes([key]))[0]]
    assert len(absent) > 15
    assert damaged.find(absent, key_hashes(absent)).tolist() == [-1] * len(absent)
    with pytest.raises(CorruptObjectError):
        damaged.find(["key-1"], key_hashes(["key-1"]))


def test_columns_answer_filters_without_the_keys_no_filter_may_name():
    reader = opened(sample(100, 2), flat_spec(2))
    assert list(reader.columns.select(parse_filter({"$and": [{"n": {"$lt": 7}}, {"even": True}]}))) == [0, 2, 4, 6]
    assert not reader.columns.select(parse_filter({"secret": {"$exists": True}}))


# ---------------------------------------------------------------- opening


@pytest.mark.parametrize("part", [paths.ROWS, paths.SEGMENT_INDEX])
@asynchronous
async def test_a_segment_with_a_part_missing_cannot_be_opened(store, runtime, part):
    await write_segment(store, runtime, ROOT, OWNER, SEGMENT, SEGMENT_200)
    await store.delete([paths.segment_key(ROOT, SEGMENT, part)])
    with pytest.raises(ObjectNotFoundError):
        await SegmentReader.open(store, ROOT, OWNER, SEGMENT)


@asynchronous
async def test_a_segment_of_another_index_is_refused(store, runtime):
    await write_segment(store, runtime, ROOT, OWNER, SEGMENT, SEGMENT_200)
    reader = await SegmentReader.open(store, ROOT, OWNER, SEGMENT)
    with pytest.raises(CorruptObjectError):
        await SegmentReader.open(store, ROOT, "b" * 32, SEGMENT)
    for wrong in (IndexSpec(3, DistanceMetric.COSINE), IndexSpec(2, DistanceMetric.EUCLIDEAN)):
        with pytest.raises(CorruptObjectError):
            reader.check_spec(wrong)


def test_rows_of_another_size_than_the_index_was_made_for_are_refused():
    for rows in (bytes(SEGMENT_200.rows_file) + b"\0", bytes(SEGMENT_200.rows_file)[:-1], b""):
        with pytest.raises(CorruptObjectError, match="are due"):
            read(index_bytes(SEGMENT_200), rows)


# ---------------------------------------------------------------- damage

DAMAGED_SPEC = IndexSpec(6, DistanceMetric.EUCLIDEAN, (), "kmeans", "rabitq", 0.95)
BATCH = sample(40, 6)
CODED = built(BATCH, DAMAGED_SPEC, PARTITIONED)
PLAIN_SPEC = flat_spec(6)
PLAIN = built(BATCH, PLAIN_SPEC)
SEGMENTS = {"coded": (CODED, DAMAGED_SPEC), "plain": (PLAIN, PLAIN_SPEC)}


def use_everything(reader: SegmentReader, segment: segment_builder.BuiltSegment) -> None:
    """Read everything; nothing but the written values may come back."""
    rows = np.arange(len(BATCH.keys))
    assert reader.rows == len(rows)
    assert (reader.take_vectors(rows) == BATCH.vectors[segment.order]).all()
    assert [reader.key(row) for row in rows] == [BATCH.keys[row] for row in segment.order]
    assert reader.metadata_of(rows) == [BATCH.metadata[row] for row in segment.order]
    assert (segment.order[reader.find(BATCH.keys, key_hashes(BATCH.keys))] == rows).all()
    assert (reader.find(["absent"], key_hashes(["absent"])) == -1).all()
    assert list(reader.columns.select(parse_filter({"n": {"$gte": 0}}))) == rows.tolist()
    assert (reader.norms == segment.sections["norms"]).all()
    assert reader.places_agree(rows)
    use_codes(reader, segment)
    assert np.array_equal(reader.codes.ends, segment.sections["ends"])
    assert np.array_equal(reader.codes.radii, segment.sections["radii"])


def use_codes(reader: SegmentReader, segment: segment_builder.BuiltSegment) -> None:
    rows, codes = np.arange(reader.rows), reader.codes
    assert codes.origins.shape == (len(codes.ends), 6)
    assert codes.codec is None or segment is not PLAIN
    if segment is PLAIN:
        assert (codes.calibration, codes.scanner, codes.refiner, codes.partitioner) == (None, None, None, None)
        return
    every = np.arange(len(codes.ends))
    codes.verify_partitions(every)
    assert isinstance(codes.calibration, Calibration)
    assert codes.calibration.encode() == segment.sections["calibration"]
    assert codes.partitioner.encode() == segment.sections["partitioner"]
    assert codes.codec.encode() == segment.sections["codec"]
    assert codes.refiner.encode() == segment.sections["refiner"]
    for row in BATCH.vectors[:3]:
        found = codes.scanner.scan(row, every, len(rows))
        assert sorted(found.rows.tolist()) == rows.tolist()
    codes.int8_rows(rows)
    codes.verify_checksums()


def padding_of(index: bytes) -> np.ndarray:
    """Which bytes of an index object are padding."""
    padding = np.ones(len(index), bool)
    (length,) = struct.unpack_from("<I", index, len(index) - 20)
    padding[:8] = padding[len(index) - 20 - length :] = False
    for section in segment_index.decode_footer(INDEX_KEY, OWNER, memoryview(index)).sections.values():
        padding[section.offset : section.offset + section.length] = False
    return padding


@pytest.mark.parametrize("name", SEGMENTS)
def test_every_flipped_bit_of_the_index_is_noticed_when_it_is_used_or_is_padding(name):
    segment, _ = SEGMENTS[name]
    index = index_bytes(segment)
    padding = padding_of(index)
    assert 0 < padding.sum() < 0.3 * len(index)
    use_everything(read(index, segment.rows_file), segment)
    for position in flips(index, 4000):
        damaged = bytearray(index)
        damaged[position] ^= 1 << position % 8
        noticed = refused(bytes(damaged), segment.rows_file, lambda reader: use_everything(reader, segment))
        assert noticed != padding[position], position


@pytest.mark.parametrize("name", SEGMENTS)
def test_verifying_notices_every_flipped_bit_save_in_padding(name):
    segment, spec = SEGMENTS[name]
    index, rows = index_bytes(segment), bytes(segment.rows_file)
    padding = padding_of(index)
    audit_segment(read(index, rows), spec)
    for position in flips(index, 4000):
        damaged = bytearray(index)
        damaged[position] ^= 1 << position % 8
        assert refused(bytes(damaged), rows, SegmentReader.verify) != padding[position], position
    for position in flips(rows, 3000):
        damaged = bytearray(rows)
        damaged[position] ^= 1 << position % 8
        assert refused(index, bytes(damaged), SegmentReader.verify), position


@pytest.mark.parametrize("name", SEGMENTS)
def test_every_flipped_bit_of_the_rows_is_noticed_when_it_is_used(name, monkeypatch):
    """One block for the whole file: any use of any row notices it."""
    segment, _ = SEGMENTS[name]
    rows = bytes(segment.rows_file)
    for position in flips(rows, 1500):
        damaged = bytearray(rows)
        damaged[position] ^= 1 << position % 8
        assert refused(index_bytes(segment), bytes(damaged), lambda reader: use_everything(reader, segment))


def flips(data: bytes, most: int) -> list[int]:
    """Every position, or many at random, those near the ends among them."""
    if len(data) <= most:
        return list(range(len(data)))
    chosen = np.random.default_rng(0).choice(len(data), most - 400, replace=False)
    return sorted({*chosen.tolist(), *range(100), *range(len(data) - 300, len(data))})


def refused(index: bytes, rows: bytes | memoryview, use) -> bool:
    """Whether it was CorruptObjectError, or a version from the future; nothing else may be raised."""
    try:
        use(read(index, rows))
    except (CorruptObjectError, UnsupportedFormatError):
        return True
    return False


# ---------------------------------------------------------------- bytes that are sealed, but lie

HUGE = 2**63 - 1
RUN = rows_parquet.Run
OTHER = built(sample(30, 6), DAMAGED_SPEC, PARTITIONED)
WIDER = built(sample(40, 7), IndexSpec(7, DistanceMetric.EUCLIDEAN, (), "kmeans", "rabitq", 0.95), PARTITIONED)
ENDS = CODED.sections["ends"]


def with_places(column: int, place: int) -> dict[str, np.ndarray]:
    """Partitions that place the keys (0) or the metadata (1) of all rows there, under digests that hold."""
    data, codes = np.array(CODED.sections["partitions"]), forged(CODED).codes
    before = sum(CODED.footer.widths[:3])
    for size, start in zip(codes.sizes.tolist(), codes._filled_places.tolist(), strict=True):
        texts = data[start + size * before :][: size * CODED.footer.text_size]
        texts.view("<u8").reshape(-1, 2)[:, column] = place
    return {"partitions": data, "digests": segment_builder._digests(data, codes._partition_places)}


FORGERIES = {
    "more rows": {"footer": {"rows": 41}},
    "fewer rows": {"footer": {"rows": 39}},
    "negative rows": {"footer": {"rows": -1}},
    "no rows": {"footer": {"rows": 0, "runs": []}},
    "no runs": {"footer": {"runs": []}},
    "run past the end": {"footer": {"runs": [RUN(0, 40, HUGE)]}},
    "run before the start": {"footer": {"runs": [RUN(0, 40, -16)]}},
    "unaligned run": {"footer": {"runs": [RUN(0, 40, 65)]}},
    "empty run": {"footer": {"runs": [*CODED.footer.runs, RUN(40, 0, 64)]}},
    "overlapping runs": {"footer": {"runs": [RUN(0, 21, 64), RUN(20, 20, 64)]}},
    "negative run": {"footer": {"runs": [RUN(0, 41, 64), RUN(41, -1, 64)]}},
    "huge run": {"footer": {"runs": [RUN(0, HUGE, 0)], "rows": HUGE}},
    "huge dimension": {"footer": {"dimension": HUGE}},
    "dimension zero": {"footer": {"dimension": 0}},
    "negative dimension": {"footer": {"dimension": -4}},
    "another dimension": {"footer": {"dimension": 5}},
    "block of no bytes": {"footer": {"block_bytes": 0}},
    "negative block": {"footer": {"block_bytes": -1}},
    "huge block": {"footer": {"block_bytes": HUGE}},
    "smaller blocks": {"footer": {"block_bytes": 1 << 10}},
    "unknown codec": {"footer": {"codec": "none such"}},
    "unknown partitioner": {"footer": {"partitioner": "none such"}},
    "another codec": {"footer": {"codec": "lsh"}},
    "another partitioner": {"footer": {"partitioner": "kdtree"}},
    "no codec": {"footer": {"codec": "flat"}},
    "no code size": {"footer": {"code_size": 0}},
    "a smaller code size": {"footer": {"code_size": CODED.footer.code_size - 1}},
    "a larger code size": {"footer": {"code_size": CODED.footer.code_size + 1}},
    "negative code size": {"footer": {"code_size": -9}},
    "huge code size": {"footer": {"code_size": HUGE}},
    "no int8 size": {"footer": {"int8_size": 0}},
    "a larger int8 size": {"footer": {"int8_size": 7}},
    "negative int8 size": {"footer": {"int8_size": -6}},
    "short hashes": {"sections": {"key_hashes": b"1234567"}},
    "few hashes": {"sections": {"key_hashes": bytes(8)}},
    "rows out of range": {"sections": {"key_rows": np.full(40, 40, np.uint32)}},
    "odd key rows": {"sections": {"key_rows": b"123"}},
    "no places of texts": {"footer": {"text_size": 0}},
    "a smaller text size": {"footer": {"text_size": 8}},
    "a larger text size": {"footer": {"text_size": 24}},
    "negative text size": {"footer": {"text_size": -16}},
    "huge text size": {"footer": {"text_size": HUGE}},
    "keys past the end": {"sections": with_places(0, 2**64 - 1)},
    "keys where the object ends": {"sections": with_places(0, CODED.footer.rows_size)},
    "keys whose lengths are cut off": {"sections": with_places(0, CODED.footer.rows_size - 3)},
    "keys that would be negative": {"sections": with_places(0, 2**63)},
    "keys among vectors": {"sections": with_places(0, 0)},
    "metadata past the end": {"sections": with_places(1, 2**64 - 1)},
    "metadata where the object ends": {"sections": with_places(1, CODED.footer.rows_size)},
    "metadata that would be negative": {"sections": with_places(1, 2**63)},
    "metadata among vectors": {"sections": with_places(1, 0)},
    "odd norms": {"sections": {"norms": b"12345"}},
    "odd block digests": {"sections": {"blocks": b"12345"}},
    "no block digests": {"sections": {"blocks": b""}},
    "no columns": {"sections": {"columns": b""}},
    "wild columns": {"sections": {"columns": bytes(range(256))}},
    "no key filter": {"sections": {"key_filter": b""}},
    "odd key filter": {"sections": {"key_filter": bytes(33)}},
    "part of a key filter": {"sections": {"key_filter": bytes(28)}},
    "no ends": {"sections": {"ends": b""}},
    "odd ends": {"sections": {"ends": b"123"}},
    "ends that fall": {"sections": {"ends": np.sort(ENDS)[::-1].copy()}},
    "a negative end": {"sections": {"ends": np.concatenate([[-1], ENDS[1:]])}},
    "ends past the rows": {"sections": {"ends": ENDS + 1}},
    "ends before the rows": {"sections": {"ends": ENDS - 1}},
    "huge ends": {"sections": {"ends": np.concatenate([[2**62], ENDS[1:]])}},
    "one partition": {"sections": {"ends": ENDS[-1:]}},
    "one partition more": {"sections": {"ends": np.append(ENDS, 40)}},
    "few radii": {"sections": {"radii": bytes(4)}},
    "no digests": {"sections": {"digests": b""}},
    "no checksums of blocks": {"sections": {"partition_blocks": b""}},
    "odd checksums of blocks": {"sections": {"partition_blocks": b"123"}},
    "many checksums of blocks": {"sections": {"partition_blocks": np.zeros(1 << 16, np.uint64)}},
    "wrong checksums of blocks": {"sections": {"partition_blocks": np.zeros(1, np.uint64)}},
    "wrong digests": {"sections": {"digests": np.zeros(len(ENDS), np.uint64)}},
    "no partitions": {"sections": {"partitions": b""}},
    "a byte more in partitions": {"sections": {"partitions": bytes(CODED.sections["partitions"]) + b"\0"}},
    "a byte less in partitions": {"sections": {"partitions": bytes(CODED.sections["partitions"])[:-1]}},
    "no partitioner": {"sections": {"partitioner": b""}},
    "wild partitioner": {"sections": {"partitioner": bytes(range(256))}},
    "partitioner of another dimension": {"sections": {"partitioner": WIDER.sections["partitioner"]}},
    "partitioner of another segment": {"sections": {"partitioner": OTHER.sections["partitioner"]}},
    "no codec state": {"sections": {"codec": b""}},
    "wild codec state": {"sections": {"codec": bytes(range(256))}},
    "codec of another dimension": {"sections": {"codec": WIDER.sections["codec"]}},
    "no refiner": {"sections": {"refiner": b""}},
    "refiner of another dimension": {"sections": {"refiner": WIDER.sections["refiner"]}},
    "refiner of no numbers": {"sections": {"refiner": struct.pack("<I", 6) + b"\xff" * 48}},
    "no calibration": {"sections": {"calibration": None}},
    "wild calibration": {"sections": {"calibration": bytes(range(256))}},
    "deep calibration": {"sections": {"calibration": b"\x81\xa1x" + b"\x91" * 100_000}},
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_lies_under_valid_checksums_raise_data_errors(forgery):
    with pytest.raises(DataError):
        use_everything(forged(CODED, **FORGERIES[forgery]), CODED)


END = PLAIN.footer.rows_size
PLAIN_FORGERIES = {
    "places of texts without partitions": {"footer": {"text_size": 16}},
    "negative text size": {"footer": {"text_size": -16}},
    "key offsets past the end": {"sections": {"key_offsets": np.full(40, 2**64 - 1, np.uint64)}},
    "key offsets where the object ends": {"sections": {"key_offsets": np.full(40, END, np.uint64)}},
    "key offsets that cut lengths off": {"sections": {"key_offsets": np.full(40, END - 3, np.uint64)}},
    "key offsets into vectors": {"sections": {"key_offsets": np.zeros(40, np.uint64)}},
    "few key offsets": {"sections": {"key_offsets": PLAIN.sections["key_offsets"][1:]}},
    "odd key offsets": {"sections": {"key_offsets": b"123"}},
    "metadata offsets past the end": {"sections": {"metadata_offsets": np.full(40, 2**63, np.uint64)}},
    "metadata offsets into vectors": {"sections": {"metadata_offsets": np.zeros(40, np.uint64)}},
    "many metadata offsets": {"sections": {"metadata_offsets": np.zeros(41, np.uint64)}},
}


@pytest.mark.parametrize("forgery", PLAIN_FORGERIES)
def test_lies_about_a_segment_without_codes_raise_data_errors(forgery):
    with pytest.raises(DataError):
        use_everything(forged(PLAIN, **PLAIN_FORGERIES[forgery]), PLAIN)


@pytest.mark.parametrize("name", ["key_hashes", "key_rows", "norms", "columns", "blocks", "key_filter", "ends"])
@pytest.mark.parametrize("form", SEGMENTS)
def test_a_section_that_is_not_there_raises_a_data_error(form, name):
    segment, _ = SEGMENTS[form]
    with pytest.raises(DataError, match=name):
        use_everything(forged(segment, sections={name: None}), segment)


@pytest.mark.parametrize(
    ("form", "name"),
    [
        *(("coded", name) for name in ("partitions", "digests", "codec", "partitioner", "refiner", "radii")),
        ("plain", "key_offsets"),
        ("plain", "metadata_offsets"),
    ],
)
def test_a_section_that_one_form_needs_and_has_not_raises_a_data_error(form, name):
    segment, _ = SEGMENTS[form]
    other = next(each for each, _ in SEGMENTS.values() if each is not segment)
    assert name in segment.sections
    assert name in other.sections or name.endswith("_offsets")
    with pytest.raises(DataError, match=name):
        use_everything(forged(segment, sections={name: None}), segment)


@pytest.mark.parametrize("form", SEGMENTS)
@pytest.mark.parametrize("row", [40, 41, 2**40, HUGE])
def test_rows_past_the_end_are_not_read(form, row):
    reader = forged(SEGMENTS[form][0])
    for texts in (reader.keys_of, reader.metadata_of):
        with pytest.raises(IndexError):
            texts([0, row])


def test_row_numbers_out_of_range_in_a_partition_are_noticed():
    data = np.array(CODED.sections["partitions"])
    codes = forged(CODED).codes
    start = int(codes._filled_places[0])
    size = int(codes.sizes[0]) * codes.code_size
    for lie in (40, -1, HUGE):
        wrong = data.copy()
        wrong[start + size : start + size + 8] = np.frombuffer(np.int64(lie).tobytes(), np.uint8)
        digests = segment_builder._digests(wrong, codes._partition_places)
        reader = forged(CODED, sections={"partitions": wrong, "digests": digests})
        with pytest.raises(DataError):
            audit_segment(reader, DAMAGED_SPEC)
