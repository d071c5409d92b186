"""Tests of log entries: parts in order, found in place, and nothing read past the end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from format.hostile import RANDOM_BYTES, damaged, survives, truncations
from quiver.format.envelope import ALIGNMENT
from quiver.format.log_entry import Part, PartKind, decode, encode
from quiver.model.errors import CorruptObjectError

PARTS = st.lists(st.builds(Part, st.sampled_from(PartKind), st.binary(max_size=200)), max_size=6)


def packed(parts: list[Part]) -> bytes:
    return b"".join(encode(parts))


def read(data: bytes) -> list[tuple[PartKind, bytes]]:
    return [(part.kind, bytes(part.body)) for part in decode("key", memoryview(data))]


@given(PARTS)
def test_what_goes_in_comes_out(parts):
    assert read(packed(parts)) == [(part.kind, bytes(part.body)) for part in parts]


def test_bodies_are_views_at_multiples_of_64():
    data = packed([Part(PartKind.PUT, bytes([length + 100]) * length) for length in (2, 63, 64, 65, 7)])
    for part in decode("key", memoryview(data)):
        assert part.body.obj is data
        assert data.index(bytes(part.body)) % ALIGNMENT == 0


def test_a_cut_entry_is_noticed():
    data = packed([Part(PartKind.PUT, b"x" * 100), Part(PartKind.DELETE, b"y" * 30)])
    whole = len(data.rstrip(b"\0"))
    for short in truncations(data):
        if len(short) < whole:
            with pytest.raises(CorruptObjectError):
                read(short)


@pytest.mark.parametrize(
    "directory",
    [
        b"\x91\x92\x02\xd3" + (-5).to_bytes(8, "big", signed=True),
        b"\x91\x92\x02\xcf" + b"\xff" * 8,
        b"\x91\x92\x63\x00",
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 200,
        b"\xa2\xff\xff",
    ],
    ids=["negative size", "huge size", "unknown kind", "endless list", "deep list", "text"],
)
def test_a_lying_directory_is_refused(directory):
    with pytest.raises(CorruptObjectError):
        read(len(directory).to_bytes(4, "little") + directory + bytes(200))


@given(RANDOM_BYTES)
def test_random_bytes_never_raise_anything_else(data):
    survives(read, data)


def test_damage_never_raises_anything_else():
    data = packed([Part(PartKind.PUT, b"x" * 100), Part(PartKind.DELETE, b"y" * 30), Part(PartKind.SEAL, b"")])
    outcomes = [survives(read, each) for each in damaged(data, 2000)]
    assert not all(outcomes)
