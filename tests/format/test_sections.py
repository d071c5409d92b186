"""Packed sections come back as they were, and hostile offsets are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiver.format.sections import Sections, as_array, pack
from quiver.model.errors import CorruptObjectError


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_sections_come_back_in_order(sections):
    packed = Sections(memoryview(pack(sections)), len(sections))
    assert [bytes(section) for section in packed] == sections
    assert len(packed) == len(sections)


def test_every_section_starts_at_a_multiple_of_eight():
    packed = pack([b"a", b"bcd", b"12345678"])
    assert [packed.index(text) % 8 for text in (b"a", b"bcd", b"12345678")] == [0, 0, 0]


@pytest.mark.parametrize(
    "buffer",
    [
        b"\0",
        b"\x01\0\0\0\0\0\0\0",  # one section declared, no room for its end
        b"\xff" * 16,
        (3).to_bytes(8, "little") + bytes(24),
    ],
)
def test_a_count_that_is_wrong_or_does_not_fit_is_refused(buffer):
    with pytest.raises(CorruptObjectError):
        Sections(memoryview(buffer), 2)


@pytest.mark.parametrize(
    ("ends", "number"), [((4, 40), 0), ((40, 24), 1), ((24, 41), 1), ((24, 2**64 - 1), 1), ((2**64 - 1, 40), 1)]
)
def test_ends_outside_the_buffer_or_descending_are_refused_on_access(ends, number):
    buffer = np.array([2, *ends, 0, 0], "<u8").tobytes()
    with pytest.raises(CorruptObjectError):
        Sections(memoryview(buffer), 2)[number]


def test_an_array_is_a_read_only_view_of_whole_elements():
    numbers = as_array(memoryview(np.arange(3, dtype="<u4").tobytes()), np.dtype("<u4"))
    assert numbers.tolist() == [0, 1, 2]
    assert not numbers.flags.writeable
    with pytest.raises(CorruptObjectError):
        as_array(memoryview(b"12345"), np.dtype("<u4"))
