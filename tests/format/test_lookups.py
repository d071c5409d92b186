"""Tests of the kernel that looks up values and postings: what it finds, and that it stays within its arrays."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiver.format import _kernels

NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**64), 2**64), st.just(10**400)
)
STRINGS = st.binary(max_size=4)


def doubles(numbers):
    return memoryview(array("d", sorted(numbers)))


def offsets_of(strings):
    return memoryview(array("Q", np.cumsum([0, *map(len, strings)]).tolist())), memoryview(b"".join(strings))


def u32(numbers):
    return memoryview(array("I", numbers))


@given(st.sets(st.floats(allow_nan=False, allow_infinity=False)), st.lists(NUMBERS), st.data())
def test_numbers_are_found_where_they_equal_exactly(stored, asked, data):
    if stored:
        asked += data.draw(st.lists(st.sampled_from(sorted(stored))))
    table = doubles(stored)
    assert _kernels.find_numbers(table, asked) == [list(table).index(n) for n in asked if n in stored]


@pytest.mark.parametrize("number", [2**53 + 1, 2**63 - 1, -(2**53) - 1, 10**400, -(10**400)])
def test_an_integer_that_no_float_equals_is_not_found(number):
    near = float(min(max(number, -(2**80)), 2**80))
    assert _kernels.find_numbers(doubles([near, 0.0]), [number]) == []
    assert _kernels.find_numbers(doubles([2.0**53, 2.0**63]), [2**63, 2**53]) == [1, 0]


@given(st.sets(STRINGS), st.lists(STRINGS), st.data())
def test_strings_are_found_by_all_their_bytes(stored, asked, data):
    ascending = sorted(stored)
    if ascending:
        asked += data.draw(st.lists(st.sampled_from(ascending)))
    found = _kernels.find_strings(*offsets_of(ascending), asked)
    assert found == [ascending.index(string) for string in asked if string in stored]


@pytest.mark.parametrize("offsets", [[0, 4], [3, 2], [2**64 - 1, 1], [0, 2**64 - 1], [2**63, 2**63]])
def test_a_string_outside_its_text_is_refused(offsets):
    with pytest.raises(ValueError, match="string 0 is bytes"):
        _kernels.find_strings(memoryview(array("Q", offsets)), memoryview(b"abc"), [b"abc"])


def test_a_table_of_no_strings_has_none():
    for offsets in ([], [0]):
        assert _kernels.find_strings(memoryview(array("Q", offsets)), memoryview(b""), [b"", b"a"]) == []


@given(st.lists(st.lists(st.integers(0, 99), max_size=5), max_size=8), st.data())
def test_the_rows_of_values_come_value_by_value(rows, data):
    values = data.draw(st.lists(st.integers(0, len(rows) - 1))) if rows else []
    frequent = sorted(data.draw(st.sets(st.integers(0, 9))))
    offsets = u32(np.cumsum([0, *map(len, rows)]).tolist())
    posted = np.array([row for of_value in rows for row in of_value], np.uint32)
    taken, numbers = _kernels.rows_posted(offsets, posted, u32(frequent), values)
    assert np.frombuffer(taken, np.uint32).tolist() == [row for value in values for row in rows[value]]
    assert numbers == [frequent.index(value) for value in values if value in frequent]


@pytest.mark.parametrize("offsets", [[0, 4], [3, 2], [2**32 - 1, 1], [0, 2**32 - 1]])
def test_rows_outside_the_posted_ones_are_refused(offsets):
    with pytest.raises(ValueError, match="of 3 posted"):
        _kernels.rows_posted(u32(offsets), np.arange(3, dtype=np.uint32), u32([]), [0])


@pytest.mark.parametrize("value", [-1, 2, 2**40, 2**62])
def test_a_value_that_does_not_exist_is_refused(value):
    with pytest.raises(ValueError, match="no such value"):
        _kernels.rows_posted(u32([0, 1, 2]), np.arange(2, dtype=np.uint32), u32([]), [0, value])
    with pytest.raises(ValueError, match="no such value"):
        _kernels.rows_posted(u32([]), np.arange(0, dtype=np.uint32), u32([]), [0])


def test_arguments_of_another_kind_are_refused():
    table, text = doubles([1.0]), memoryview(b"")
    for call in (
        lambda: _kernels.find_numbers(table, ["1"]),
        lambda: _kernels.find_numbers(table, 1),
        lambda: _kernels.find_numbers(table),
        lambda: _kernels.find_numbers("table", [1]),
        lambda: _kernels.find_strings(memoryview(array("Q", [0, 0])), text, ["a"]),
        lambda: _kernels.find_strings(memoryview(array("Q", [0, 0])), text, None),
        lambda: _kernels.rows_posted(u32([0, 0]), np.zeros(0, np.uint32), u32([]), ["0"]),
        lambda: _kernels.rows_posted(u32([0, 0]), np.zeros(0, np.uint32), u32([]), 0),
    ):
        with pytest.raises(TypeError):
            call()
    for wrong in (u32([1]), memoryview(array("q", [1])), np.zeros((1, 1))):
        with pytest.raises(ValueError, match="due"):
            _kernels.find_numbers(wrong, [1])
    with pytest.raises(ValueError, match="due"):
        _kernels.rows_posted(u32([0, 0]), np.zeros(0, np.int32), u32([]), [0])


def test_arrays_may_begin_at_any_address():
    moved = memoryview(b"\0" + array("d", [1.0, 2.0]).tobytes())[1:].cast("d")
    assert _kernels.find_numbers(moved, [2]) == [1]
