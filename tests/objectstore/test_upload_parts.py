"""Tests of how large bodies are cut into parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiver.objectstore.upload_parts import MOST_PARTS, LargePuts, pieces, slice_of

MIB = 1 << 20
GIB = 1 << 30
BODIES = st.lists(st.binary(max_size=40), max_size=8)


@pytest.mark.parametrize(
    ("nbytes", "size"),
    [
        (65 * MIB, 16 * MIB),
        (10_000 * 16 * MIB, 16 * MIB),
        (10_000 * 16 * MIB + 1, 17 * MIB),
        (256 * GIB, 27 * MIB),
        (5 << 40, 525 * MIB),
    ],
)
def test_parts_grow_so_that_there_are_never_too_many(nbytes: int, size: int) -> None:
    assert LargePuts().part_size(nbytes) == size
    assert -(-nbytes // size) <= MOST_PARTS


@given(st.integers(1, 1 << 50), st.integers(1, 1 << 30))
def test_whatever_the_size_there_are_parts_enough(nbytes: int, part_bytes: int) -> None:
    size = LargePuts(part_bytes=part_bytes).part_size(nbytes)
    assert size >= part_bytes
    assert nbytes <= size * MOST_PARTS


@given(BODIES, st.integers(1, 50))
def test_pieces_are_the_body_in_order_and_none_is_larger_than_a_part(parts: list[bytes], size: int) -> None:
    cut = list(pieces(parts, size))
    assert b"".join(cut) == b"".join(parts)
    assert all(0 < piece.nbytes <= size for piece in cut)


def test_pieces_are_views_and_no_copies() -> None:
    body = bytearray(10)
    cut = list(pieces([body], 4))
    body[:] = range(10)
    assert b"".join(cut) == bytes(range(10))


@given(BODIES, st.integers(0, 200), st.integers(0, 200))
def test_a_slice_is_that_of_the_body(parts: list[bytes], start: int, length: int) -> None:
    assert slice_of(parts, start, start + length) == b"".join(parts)[start : start + length]
