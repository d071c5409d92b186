"""Tests of the spool: the same bytes in memory and in a file, and no file that anyone could find."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiver.model.mapped import release
from quiver.storage.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path

PLACES = pytest.mark.parametrize("memory_bytes", [0, 1 << 20], ids=["in a file", "in memory"])


@PLACES
@given(parts=st.lists(st.binary(max_size=50), max_size=10))
def test_what_is_written_is_seen_in_order(memory_bytes, parts):
    file = Spool(memory_bytes=memory_bytes).open(100)
    for part in parts:
        before = file.tell()
        assert file.write(memoryview(part)) == len(part)
        assert file.tell() == before + len(part)
    assert file.size == sum(map(len, parts))
    assert bytes(file.view()) == bytes(file.view()) == b"".join(parts)


@PLACES
def test_a_view_outlives_its_file(memory_bytes):
    def written() -> memoryview:
        file = Spool(memory_bytes=memory_bytes).open(100)
        file.write(b"x" * 100_000)
        return file.view()

    assert bytes(written()) == b"x" * 100_000


@PLACES
def test_an_array_starts_with_zeros_and_keeps_what_is_written(memory_bytes):
    array = Spool(memory_bytes=memory_bytes).array(100_000)
    assert (array.dtype, array.shape, array.any()) == (np.uint8, (100_000,), False)
    array[::3] = 7
    assert array.sum() == 7 * len(array[::3])


@PLACES
def test_an_array_of_no_bytes(memory_bytes):
    assert Spool(memory_bytes=memory_bytes).array(0).shape == (0,)


def test_what_is_small_is_in_memory_and_what_is_large_in_the_directory_that_was_given(tmp_path: Path):
    spool = Spool(str(tmp_path), 1000)
    assert type(spool.open(1000).view().obj) is np.ndarray
    large = spool.open(1001)
    large.write(b"x")
    assert type(large.view().obj) is mmap.mmap
    assert type(spool.array(1001).base) is mmap.mmap or isinstance(spool.array(1001).base.obj, mmap.mmap)
    with pytest.raises(FileNotFoundError):
        Spool(str(tmp_path / "nowhere"), 1000).open(1001)
    assert not list(tmp_path.iterdir())


@PLACES
def test_pages_that_were_let_go_of_are_read_again(memory_bytes):
    file = Spool(memory_bytes=memory_bytes).open(100_000)
    file.write(b"0123456789" * 10_000)
    view = file.view()
    before = bytes(view)
    release(view)
    release(view)
    assert bytes(view) == before == b"0123456789" * 10_000
    release(memoryview(b""))


def test_a_view_cannot_be_written_to():
    for memory_bytes in (0, 1000):
        file = Spool(memory_bytes=memory_bytes).open(10)
        file.write(b"abc")
        assert file.view().readonly


@given(sizes=st.lists(st.integers(1, 900_000), max_size=8), expected=st.integers(0, 2_000_000))
def test_memory_grows_with_what_is_written_whatever_was_expected(sizes, expected):
    file = Spool(memory_bytes=3 << 20).open(expected)
    views, whole = [], b""
    for number, size in enumerate(sizes):
        file.write(bytes([number]) * size)
        whole += bytes([number]) * size
        views.append((file.view(), len(whole)))
    assert all(bytes(view) == whole[:size] for view, size in views)


def test_what_outgrows_memory_moves_to_the_directory(tmp_path: Path):
    file = Spool(str(tmp_path), 10).open()
    file.write(b"0123456789")
    assert type(file.view().obj) is np.ndarray
    early = file.view()
    file.write(memoryview(b"x"))
    file.write(b"yz")
    assert (type(file.view().obj), bytes(file.view()), file.tell()) == (mmap.mmap, b"0123456789xyz", 13)
    assert bytes(early) == b"0123456789"


@PLACES
def test_rows_are_taken_in_any_order(memory_bytes):
    rows = np.arange(600, dtype="<f4").reshape(100, 6)
    file = Spool(memory_bytes=memory_bytes).open(100)
    file.write(rows[:70].tobytes())
    file.write(rows[70:].tobytes())
    numbers = np.array([99, 0, 70, 69, 0])
    assert np.array_equal(file.take(numbers, 24).view("<f4"), rows[numbers])
    assert file.take(numbers[:0], 24).shape == (0, 24)


def test_rows_that_are_not_there_are_an_error():
    file = Spool(memory_bytes=0).open(100)
    file.write(bytes(24))
    with pytest.raises(OSError, match="ended early"):
        file.take(np.array([1]), 24)
