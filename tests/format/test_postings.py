"""Postings give the rows of a range of values, and refuse bytes that contradict themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiver.format.postings import Postings, decode_bitmap, encode_bitmap, encode_postings
from quiver.format.sections import Sections, pack
from quiver.model.errors import CorruptObjectError

VALUES, ROWS = 4, 400
PAIRS = [((0, 0, 1, 1, 2, 3)[number % 6], number) for number in range(300)] + [(3, 350), (3, 350)]
OFFSETS, RARE, FREQUENT, BITMAP_OFFSETS, BITMAPS = range(5)


def u32(numbers):
    return np.array(numbers, np.uint32)


def encoded(pairs):
    return encode_postings(u32([value for value, _ in pairs]), u32([row for _, row in pairs]), VALUES)


def select(buffer, first=0, last=VALUES, rows=ROWS):
    return list(Postings(memoryview(buffer), VALUES, rows).select(first, last))


def with_section(number, content):
    sections = [bytes(section) for section in Sections(memoryview(encoded(PAIRS)))]
    assert sections[number] != content
    sections[number] = content
    return pack(sections)


@pytest.mark.parametrize("first", range(VALUES + 1))
@pytest.mark.parametrize("last", range(VALUES + 1))
def test_a_range_of_values_gives_their_rows_frequent_and_rare(first, last):
    assert select(encoded(PAIRS), first, last) == sorted({row for value, row in PAIRS if first <= value < last})


@given(st.lists(st.tuples(st.integers(0, VALUES - 1), st.integers(0, ROWS - 1)), max_size=300), st.data())
def test_any_pairs_come_back(pairs, data):
    pairs.sort(key=lambda pair: pair[1])
    first, last = data.draw(st.integers(0, VALUES)), data.draw(st.integers(0, VALUES))
    assert select(encoded(pairs), first, last) == sorted({row for value, row in pairs if first <= value < last})


@given(st.lists(st.tuples(st.integers(0, VALUES - 1), st.integers(0, ROWS - 1)), max_size=400), st.data())
def test_some_values_give_the_rows_of_each(pairs, data):
    pairs.sort(key=lambda pair: pair[1])
    values = data.draw(st.lists(st.integers(0, VALUES - 1)))
    found = Postings(memoryview(encoded(pairs)), VALUES, ROWS).select_any(values)
    assert list(found) == sorted({row for value, row in pairs if value in values})


@pytest.mark.parametrize(
    ("section", "content"),
    [
        (OFFSETS, u32([0, 0]).tobytes()),
        (OFFSETS, u32([5, 5, 5, 5, 4]).tobytes()),
        (OFFSETS, u32([0, 0, 0, 0, 10_000]).tobytes()),
        (OFFSETS, b""),
        (OFFSETS, b"12345"),
        (RARE, u32([ROWS] * 101).tobytes()),
        (FREQUENT, u32([0]).tobytes()),
        (BITMAP_OFFSETS, b""),
        (BITMAP_OFFSETS, np.array([0, 1 << 40, 0], "<u8").tobytes()),
        (BITMAP_OFFSETS, np.array([0, 0, 1 << 40], "<u8").tobytes()),
        (BITMAP_OFFSETS, np.array([0] * 3, "<u8").tobytes()),
        (BITMAPS, b""),
        (BITMAPS, b"\xff" * 1000),
    ],
)
def test_sections_that_contradict_each_other_are_refused(section, content):
    damaged = with_section(section, content)
    with pytest.raises(CorruptObjectError):
        select(damaged)
    with pytest.raises(CorruptObjectError):
        Postings(memoryview(damaged), VALUES, ROWS).select_any(range(VALUES))


def test_rows_beyond_the_last_are_refused():
    with pytest.raises(CorruptObjectError, match="row 350 of 350"):
        select(encoded([(0, 350)]), rows=350)
    with pytest.raises(CorruptObjectError, match="row 299 of 299"):
        select(encoded([(0, row) for row in range(300)]), rows=299)


@pytest.mark.parametrize(
    "buffer", [b"", b"\0", b"\xff" * 64, encode_bitmap(u32([7]))[:-1], encode_bitmap(u32([10]))]
)
def test_a_bitmap_that_is_empty_damaged_or_beyond_the_rows_is_refused(buffer):
    with pytest.raises(CorruptObjectError):
        decode_bitmap(memoryview(buffer), 10)


@given(st.sets(st.integers(0, 200_000)))
def test_a_bitmap_comes_back(rows):
    assert set(decode_bitmap(memoryview(encode_bitmap(u32(sorted(rows)))), 200_001)) == rows


@pytest.mark.parametrize("offsets", [[0, 1 << 40, 0], [0, 40, 8], [0, 8, 1 << 40]])
def test_bitmaps_that_overlap_or_leave_their_section_are_refused_before_any_is_read(offsets):
    damaged = with_section(BITMAP_OFFSETS, np.array(offsets, "<u8").tobytes())
    with pytest.raises(CorruptObjectError, match="do not ascend"):
        Postings(memoryview(damaged), VALUES, ROWS)
