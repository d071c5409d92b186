"""Tests of the search structure of open segments: partitions in place, verified one by one."""

from __future__ import annotations

import struct

import msgspec
import numpy as np
import pytest
import xxhash

from quiver.ann.space import to_space
from quiver.format import segment_index
from quiver.format.keys import key_hashes
from quiver.format.rows_layout import read_layout
from quiver.format.segment_index import TEXT_PLACES
from quiver.model.errors import CorruptObjectError
from quiver.model.types import DistanceMetric, IndexSpec
from quiver.storage.segment_audit import audit_segment
from storage.segments import PARTITIONED, STRUCTURES, built, forged, index_bytes, opened, read, sample

BATCH = sample(300, 9)
CODED = [pytest.param(*each, id="+".join(each)) for each in STRUCTURES if each[1] != "flat"]


def spec_of(partitioner: str, codec: str) -> IndexSpec:
    return IndexSpec(9, DistanceMetric.COSINE, (), partitioner, codec, 0.95)


@pytest.mark.parametrize(("partitioner", "codec"), CODED)
def test_partitions_hold_the_codes_and_int8_rows_of_their_rows(partitioner, codec):
    reader = opened(BATCH, spec_of(partitioner, codec), PARTITIONED)
    codes = reader.codes
    vectors = to_space(reader.take_vectors(np.arange(300)), reader.norms, DistanceMetric.COSINE)
    for number, (start, end) in enumerate(zip(codes.starts, codes.ends, strict=True)):
        held = codes.contents(number)
        rows = np.arange(start, end)
        made = codes.codec.encode_rows(vectors[rows], np.full(len(rows), number), codes.origins)
        assert held.rows.tolist() == rows.tolist()
        assert (held.codes == made).all()
        if codes.refiner is not None:
            assert (held.int8 == codes.refiner.encode_rows(vectors[rows])).all()
            assert (codes.int8_rows(rows) == held.int8).all()
    assert (codes.refiner is None) == (codec == "sq8")


def test_int8_rows_come_in_the_order_asked_for():
    codes = opened(BATCH, spec_of("kmeans", "rabitq"), PARTITIONED).codes
    every = codes.int8_rows(np.arange(300))
    chosen = np.random.default_rng(0).integers(0, 300, 50)
    assert (codes.int8_rows(chosen) == every[chosen]).all()
    assert codes.int8_rows(np.zeros(0, np.int64)).shape == (0, 9)


@pytest.mark.parametrize(("partitioner", "codec"), CODED)
def test_partitions_tell_where_rows_parquet_holds_the_texts_of_their_rows(partitioner, codec):
    segment = built(BATCH, spec_of(partitioner, codec), PARTITIONED)
    assert segment.footer.text_size == TEXT_PLACES
    layout = read_layout(segment.rows_file, 9)
    wanted = np.stack([layout.keys, layout.metadata], axis=1)
    rows = np.arange(300)
    assert (forged(segment).codes.text_places(rows) == wanted).all()
    chosen = np.random.default_rng(0).integers(0, 300, 50)
    codes = forged(segment).codes
    assert (codes.text_places(chosen) == wanted[chosen]).all()
    assert codes.text_places(np.zeros(0, np.int64)).shape == (0, 2)
    assert (codes.text_places(rows[-1:]) == wanted[-1:]).all()


def test_segments_without_codes_have_offsets_of_texts_in_sections():
    for options, partitioner in ((PARTITIONED, "kdtree"), (None, "single")):
        segment = built(BATCH, spec_of(partitioner, "flat"), options)
        layout = read_layout(segment.rows_file, 9)
        assert segment.footer.text_size == 0
        assert (segment.sections["key_offsets"] == layout.keys).all()
        assert (segment.sections["metadata_offsets"] == layout.metadata).all()


def test_places_of_texts_are_verified_before_they_are_used():
    segment = built(BATCH, spec_of("kmeans", "rabitq"), PARTITIONED)
    index = index_bytes(segment)
    whole = read(index, segment.rows_file)
    start = whole._footer.sections["partitions"].offset + int(whole.codes._partition_places[1])
    before = int(whole.codes.sizes[1]) * sum(segment.footer.widths[:3])
    damaged = bytearray(index)
    damaged[start + before] ^= 1
    first, end = int(whole.codes.starts[1]), int(whole.codes.ends[1])
    for row in range(first, end):
        with pytest.raises(CorruptObjectError, match="partition 1 "):
            read(bytes(damaged), segment.rows_file).key(row)
    others = np.setdiff1d(np.arange(300), np.arange(first, end))
    assert read(bytes(damaged), segment.rows_file).keys_of(others) == whole.keys_of(others)


def test_damage_in_a_partition_is_noticed_there_and_nowhere_else():
    segment = built(BATCH, spec_of("kmeans", "rabitq"), PARTITIONED)
    index = bytearray(index_bytes(segment))
    whole = read(bytes(index), segment.rows_file)
    section = whole._footer.sections["partitions"].offset
    places = whole.codes._partition_places.tolist()
    count = len(whole.codes.ends)
    for number in range(count):
        for position in {places[number], (places[number] + places[number + 1]) // 2, places[number + 1] - 1}:
            damaged = bytearray(index)
            damaged[section + position] ^= 1
            codes = read(bytes(damaged), segment.rows_file).codes
            others = np.setdiff1d(np.arange(count), [number])
            codes.verify_partitions(others)
            for _ in range(2):
                with pytest.raises(CorruptObjectError, match=f"partition {number} "):
                    codes.verify_partitions(np.array([number]))
            codes.verify_partitions(others)


def test_what_was_verified_is_not_read_again(monkeypatch):
    codes = opened(BATCH, spec_of("kmeans", "rabitq"), PARTITIONED).codes
    some = np.array([2, 0])
    codes.verify_partitions(some)
    monkeypatch.setitem(codes.__dict__, "_partition_digests", np.zeros(len(codes.ends), np.uint64))
    codes.verify_partitions(some)
    with pytest.raises(CorruptObjectError):
        codes.verify_partitions(np.array([1]))


def version_1(segment) -> bytes:
    """The same segment as version 1 had it."""
    new = (
        "partitions",
        "key_filter",
        "digests",
        "partition_blocks",
        "radii",
        "calibration",
        "refiner",
        "codec",
        "partitioner",
        "ends",
    )
    data = index_bytes(segment, sections=dict.fromkeys(new))
    length, _, magic = TAIL.unpack_from(data, len(data) - TAIL.size)
    start = len(data) - TAIL.size - length
    footer = msgspec.msgpack.decode(data[start : start + length])
    footer |= {"version": 1, "partitioner_state": b"", "codec_state": b"", "partition_ends": [footer["rows"]]}
    text = msgspec.msgpack.encode({name: value for name, value in footer.items() if name not in LATER})
    return data[:start] + text + TAIL.pack(len(text), xxhash.xxh3_64_intdigest(text), magic)


TAIL = struct.Struct("<IQ8s")
LATER = {"code_size", "int8_size", "block_bytes", "text_size"}


def test_a_segment_of_version_1_is_one_partition_scanned_exactly(monkeypatch):
    monkeypatch.setattr(segment_index, "BLOCK_BYTES", 1 << 20)
    spec = IndexSpec(9, DistanceMetric.COSINE, ("secret",), "single", "flat")
    segment = built(BATCH, spec)
    reader = read(version_1(segment), segment.rows_file)
    codes = reader.codes
    assert (codes.ends.tolist(), codes.starts.tolist(), codes.sizes.tolist()) == ([300], [0], [300])
    assert (codes.partitioner, codes.calibration, codes.codec, codes.scanner, codes.refiner) == (None,) * 5
    assert reader.key_filter is None
    assert reader.find(BATCH.keys, key_hashes(BATCH.keys)).tolist() == list(range(300))
    audit_segment(reader, spec)
