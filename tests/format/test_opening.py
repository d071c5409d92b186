"""Tests of openings: copies go in and come out, and nothing is read past the end."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from format.hostile import RANDOM_BYTES, truncations
from quiver.format.envelope import ALIGNMENT
from quiver.format.opening import Head, Opening, decode, encode
from quiver.model.errors import CorruptObjectError

BODIES = st.binary(max_size=200)
HEADS = st.lists(st.builds(Head, st.text(max_size=40), st.text(max_size=40), BODIES), max_size=4)
OPENINGS = st.builds(Opening, st.integers(0, 1 << 62), BODIES, HEADS)


def packed(opening: Opening) -> bytes:
    return b"".join(encode(opening))


def read(data: bytes) -> Opening:
    generation, checkpoint, heads = decode("key", memoryview(data))
    return Opening(generation, bytes(checkpoint), [head._replace(body=bytes(head.body)) for head in heads])


@given(OPENINGS)
def test_what_goes_in_comes_out(opening):
    assert read(packed(opening)) == opening


def test_bodies_are_views_at_multiples_of_64():
    data = packed(Opening(3, b"c" * 70, [Head("", "one", b"1" * 64), Head("", "two", b"2" * 9)]))
    _, checkpoint, heads = decode("key", memoryview(data))
    for body in (checkpoint, *(head.body for head in heads)):
        assert body.obj is data
        assert data.index(bytes(body)) % ALIGNMENT == 0


def test_a_cut_opening_is_noticed():
    data = packed(Opening(3, b"c" * 100, [Head("", "one", b"1" * 90)]))
    whole = len(data.rstrip(b"\0"))
    for short in truncations(data):
        if len(short) < whole:
            with pytest.raises(CorruptObjectError):
                read(short)


@pytest.mark.parametrize(
    "directory",
    [
        msgspec.msgpack.encode((1, -5, [])),
        msgspec.msgpack.encode((1, 1 << 62, [])),
        msgspec.msgpack.encode((1, 4, [("", "one", 1 << 60)])),
        msgspec.msgpack.encode((1, 4, [("", "one", -1)])),
        msgspec.msgpack.encode((1, 4)),
        msgspec.msgpack.encode(("1", 4, [])),
        b"\xdd\xff\xff\xff\xff",
        b"",
    ],
)
def test_a_lying_directory_is_refused(directory):
    with pytest.raises(CorruptObjectError):
        read(len(directory).to_bytes(4, "little") + directory + bytes(200))


@given(RANDOM_BYTES)
def test_noise_is_refused_or_read_within_its_bounds(data):
    try:
        opening = read(data)
    except CorruptObjectError:
        return
    assert len(opening.checkpoint) + sum(len(head.body) for head in opening.heads) <= len(data)
