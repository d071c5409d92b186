"""Tests of the segment index: sections behind a footer, each byte under a checksum."""

from __future__ import annotations

import struct

import msgspec
import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from format.hostile import RANDOM_BYTES, damaged, survives, truncations
from quiver.format import segment_index
from quiver.format.rows_parquet import Run
from quiver.format.segment_index import (
    ALIGNMENT,
    MAGIC,
    ROW_NUMBER,
    TEXT_PLACES,
    VERSION,
    Footer,
    Section,
    block_digests,
    decode_footer,
    encode,
    find_section,
    footer_start,
    partition_offsets,
    read_array,
    read_section,
    sections_before_head,
)
from quiver.model.errors import CorruptObjectError, UnsupportedFormatError

KEY, OWNER = "index/x/segment/1/index", "owner"
SECTIONS = {
    "numbers": np.arange(10, dtype=np.uint64),
    "text": b"hello",
    "empty": b"",
    "none": np.zeros(0, np.uint32),
}


def footer(**changes) -> Footer:
    plain = Footer(
        version=VERSION,
        key=KEY,
        owner=OWNER,
        rows=10,
        dimension=3,
        metric="cosine",
        partitioner="kmeans",
        codec="rabitq",
        code_size=9,
        int8_size=3,
        rows_size=1000,
        block_bytes=1 << 16,
        runs=[Run(0, 10, 64)],
        sections={},
        text_size=16,
    )
    return msgspec.structs.replace(plain, **changes)


def written(**changes) -> bytes:
    return b"".join(bytes(part) for part in encode(footer(**changes), SECTIONS))


def read(data: bytes) -> dict[str, bytes]:
    view = memoryview(data)
    found = decode_footer(KEY, OWNER, view)
    return {name: bytes(read_section(KEY, found, view, name)) for name in SECTIONS}


def resealed(text: bytes) -> bytes:
    """An object with this footer, under a valid checksum."""
    tail = struct.pack("<IQ8s", len(text), xxhash.xxh3_64_intdigest(text), MAGIC)
    return MAGIC.ljust(ALIGNMENT, b"\0") + text + tail


def test_what_goes_in_comes_out():
    data = written()
    found = decode_footer(KEY, OWNER, memoryview(data))
    assert msgspec.structs.replace(found, sections={}) == footer()
    assert read(data) == {name: bytes(memoryview(content)) for name, content in SECTIONS.items()}


def test_sections_start_at_multiples_of_64():
    assert all(
        each.offset % ALIGNMENT == 0 for each in decode_footer(KEY, OWNER, memoryview(written())).sections.values()
    )


def test_every_flipped_bit_is_noticed_or_lies_in_padding():
    data, wanted = written(), read(written())
    used = [False] * len(data)
    for section in decode_footer(KEY, OWNER, memoryview(data)).sections.values():
        used[section.offset : section.offset + section.length] = [True] * section.length
    end_of_padding = footer_start(KEY, memoryview(data))
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        if used[position] or position < len(MAGIC) or position >= end_of_padding:
            with pytest.raises(CorruptObjectError):
                read(bytes(flipped))
        else:
            assert read(bytes(flipped)) == wanted


def test_every_truncation_is_noticed():
    for short in truncations(written()):
        with pytest.raises(CorruptObjectError):
            read(short)


def test_a_segment_in_the_wrong_place_is_refused():
    for changes in ({"key": "elsewhere"}, {"owner": "another"}):
        with pytest.raises(CorruptObjectError):
            read(written(**changes))


def test_a_future_version_is_refused_by_name_even_when_its_footer_differs():
    for version in (VERSION + 1, 0, -1):
        with pytest.raises(UnsupportedFormatError, match=f"version {version};"):
            read(written(version=version))
    with pytest.raises(UnsupportedFormatError, match="9"):
        read(resealed(msgspec.msgpack.encode({"version": 9, "everything": "else"})))


@pytest.mark.parametrize(
    "section",
    [Section(-1, 5, 0), Section(0, -1, 0), Section(0, 2**63, 0), Section(2**63, 1, 0), Section(1 << 20, 0, 0)],
)
def test_sections_out_of_bounds_are_refused(section):
    data = memoryview(resealed(msgspec.msgpack.encode(footer(sections={"text": section}))))
    found = decode_footer(KEY, OWNER, data)
    for name in ("text", "missing"):
        with pytest.raises(CorruptObjectError):
            read_section(KEY, found, data, name)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\x80",
        b"\x81\xa7version\xa1\xff",
        msgspec.msgpack.encode({"version": 1}),
        msgspec.msgpack.encode({"version": 2}),
        msgspec.msgpack.encode({"version": 3}),
        msgspec.msgpack.encode({**msgspec.to_builtins(footer()), "text_size": "16"}),
        b"\x81\xa1x" + b"\x91" * 100_000,
        msgspec.msgpack.encode(footer()).replace(b"cosine", b"cos\xff\xffe"),
        b"\x91" * 5000,
    ],
)
def test_lies_under_valid_checksums_are_refused(text):
    with pytest.raises(CorruptObjectError):
        read(resealed(text))


@given(RANDOM_BYTES)
def test_random_bytes_never_raise_anything_else(data):
    assert not survives(read, data)
    assert not survives(read, resealed(data))


def test_damage_under_valid_checksums_never_raises_anything_else():
    text = msgspec.msgpack.encode(decode_footer(KEY, OWNER, memoryview(written())))
    for each in damaged(text, 3000):
        survives(read, resealed(each))


VERSION_1 = {
    "version": 1,
    "key": KEY,
    "owner": OWNER,
    "rows": 10,
    "dimension": 3,
    "metric": "cosine",
    "partitioner": "single",
    "partitioner_state": b"",
    "codec": "flat",
    "codec_state": b"",
    "partition_ends": [10],
    "rows_size": 1000,
    "runs": [[0, 10, 64]],
    "sections": {"text": [64, 5, 9]},
}


def test_version_1_reads_as_one_partition_without_codes_in_larger_blocks():
    found = decode_footer(KEY, OWNER, memoryview(resealed(msgspec.msgpack.encode(VERSION_1))))
    wanted = footer(partitioner="single", codec="flat", code_size=0, int8_size=0, block_bytes=1 << 20, text_size=0)
    assert found == msgspec.structs.replace(wanted, version=1, sections={"text": Section(64, 5, 9)})


@pytest.mark.parametrize("field", ["rows", "rows_size", "runs", "sections"])
def test_version_1_without_a_field_is_refused(field):
    lacking = {name: value for name, value in VERSION_1.items() if name != field}
    with pytest.raises(CorruptObjectError):
        decode_footer(KEY, OWNER, memoryview(resealed(msgspec.msgpack.encode(lacking))))


def without(name: str, **changes) -> bytes:
    """A footer that lacks a field."""
    fields = msgspec.to_builtins(footer(**changes))
    return resealed(msgspec.msgpack.encode({key: value for key, value in fields.items() if key != name}))


def test_version_2_says_nothing_of_texts_and_has_none_in_its_partitions():
    found = decode_footer(KEY, OWNER, memoryview(without("text_size", version=2)))
    assert found == footer(version=2, text_size=0)
    assert found.widths == (9, ROW_NUMBER, 3, 0)


def test_version_3_has_codes_row_by_row():
    found = decode_footer(KEY, OWNER, memoryview(without("code_block", version=3)))
    assert found == footer(version=3, code_block=1)


@pytest.mark.parametrize("field", [*Footer.__struct_fields__[:-2]])
@pytest.mark.parametrize("version", [2, 3])
def test_a_later_version_without_any_other_field_is_refused(version, field):
    with pytest.raises(CorruptObjectError):
        decode_footer(KEY, OWNER, memoryview(without(field, version=version)))


def test_widths_are_those_of_codes_row_numbers_int8_rows_and_places_of_texts():
    assert footer().widths == (9, ROW_NUMBER, 3, TEXT_PLACES) == (9, 8, 3, 16)
    assert footer(code_size=0, int8_size=0, text_size=0).widths == (0, 8, 0, 0)


def test_the_head_begins_with_the_blocks_of_the_rows():
    names = ["partitions", "key_hashes", "key_rows", "norms", "columns", "blocks", "key_filter", "digests", "ends"]
    assert sections_before_head(names) == 5
    assert sections_before_head(dict.fromkeys(names[5:])) == 0


@pytest.mark.parametrize("length", [20, 63, 64, 83, 84, 200])
def test_a_footer_is_found_by_the_last_bytes_alone(length):
    """The other bytes of an object may not be there yet."""
    data = written()
    start = footer_start(KEY, memoryview(data))
    absent = memoryview(bytes(start) + data[start:])
    assert footer_start(KEY, absent) == start
    assert decode_footer(KEY, OWNER, absent, whole=False) == decode_footer(KEY, OWNER, memoryview(data))
    with pytest.raises(CorruptObjectError):
        decode_footer(KEY, OWNER, absent)
    with pytest.raises(CorruptObjectError):
        footer_start(KEY, absent[-length:])


def test_arrays_have_the_number_of_elements_that_is_due():
    data = memoryview(written())
    found = decode_footer(KEY, OWNER, data)
    assert read_array(KEY, found, data, "numbers", "<u8", 10).tolist() == list(range(10))
    assert read_array(KEY, found, data, "none", "<u4", 0).tolist() == []
    for name, dtype, count in (
        ("numbers", "<u8", 9),
        ("numbers", "<u4", 10),
        ("text", "<u4", 1),
        ("no", "<u4", 0),
    ):
        with pytest.raises(CorruptObjectError):
            read_array(KEY, found, data, name, dtype, count)


def test_finding_a_section_does_not_verify_it():
    data = bytearray(written())
    place = decode_footer(KEY, OWNER, memoryview(data)).sections["text"].offset
    data[place] ^= 1
    found = decode_footer(KEY, OWNER, memoryview(data))
    assert bytes(find_section(KEY, found, memoryview(data), "text")) == b"iello"
    with pytest.raises(CorruptObjectError, match="text"):
        read_section(KEY, found, memoryview(data), "text")


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=20),
    st.integers(0, 40),
    st.integers(0, 40),
    st.sampled_from([1, 32]),
)
def test_partitions_follow_each_other_at_multiples_of_8_with_room_for_their_rows(
    sizes, code_size, int8_size, block
):
    places = partition_offsets(np.cumsum(sizes), (code_size, 8, int8_size), block)
    assert places[0] == 0
    assert len(places) == len(sizes) + 1
    assert (places % 8 == 0).all()
    codes = -(-np.array(sizes) // block) * block * code_size
    rooms = np.diff(places) - codes - np.array(sizes) * (8 + int8_size)
    assert (rooms >= 0).all()
    assert (rooms < 8).all()


def test_block_digests_cover_every_byte_once(monkeypatch):
    monkeypatch.setattr(segment_index, "BLOCK_BYTES", 100)
    data = np.random.default_rng(0).bytes(1050)
    digests = block_digests(memoryview(data))
    assert len(digests) == 11
    for position in range(0, 1050, 7):
        flipped = bytearray(data)
        flipped[position] ^= 1
        changed = [new != old for new, old in zip(block_digests(memoryview(flipped)), digests, strict=True)]
        assert [number for number, each in enumerate(changed) if each] == [position // 100]
