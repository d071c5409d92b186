"""Tests of the envelope: it round-trips, and any byte that changed is noticed."""

from __future__ import annotations

import struct

import msgspec
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from format.hostile import RANDOM_BYTES, survives, truncations
from quiver.format.envelope import ALIGNMENT, VERSION, Identity, Kind, decode, encode, make_payload, padding, peek
from quiver.model.errors import CorruptObjectError, UnsupportedFormatError

KEY, OWNER = "index/x/log/1", "owner"
IDENTITY = Identity(KEY, OWNER, "writer", 7)


def sealed(payload: bytes = b"payload", identity: Identity = IDENTITY, kind: Kind = Kind.LOG_ENTRY) -> bytes:
    return b"".join(encode(kind, identity, make_payload([payload])))


def read(data: bytes) -> tuple[Identity, memoryview]:
    return decode(Kind.LOG_ENTRY, KEY, OWNER, data)


@given(st.lists(st.binary(max_size=300), max_size=4), st.text(max_size=50), st.integers(0, 2**63 - 1))
def test_what_goes_in_comes_out(parts, writer, sequence):
    identity = Identity(KEY, OWNER, writer, sequence)
    data = b"".join(encode(Kind.LOG_ENTRY, identity, make_payload(parts)))
    found, payload = read(data)
    assert found == identity
    assert bytes(payload) == b"".join(parts)


def test_the_first_bytes_tell_whose_it_is_and_how_long():
    data = sealed(b"x" * 1000)
    assert peek(Kind.LOG_ENTRY, KEY, OWNER, data[:200]) == (IDENTITY, len(data))
    for wrong in ((Kind.CHECKPOINT, KEY, OWNER), (Kind.LOG_ENTRY, KEY + "1", OWNER), (Kind.LOG_ENTRY, KEY, "me")):
        with pytest.raises(CorruptObjectError):
            peek(*wrong, data)
    for short in truncations(data[: len(data[:-1000].rstrip(b"\0"))]):
        with pytest.raises(CorruptObjectError):
            peek(Kind.LOG_ENTRY, KEY, OWNER, short)


def test_the_payload_is_a_view_at_a_multiple_of_64():
    for length in range(80):
        data = sealed(b"x" * 10, Identity(KEY, OWNER, "w" * length, 1))
        _, payload = read(data)
        assert (len(data) - len(payload)) % ALIGNMENT == 0
        assert payload.obj is data
        assert padding(len(data) - len(payload)) == 0


def test_every_flipped_bit_is_noticed_save_in_the_padding():
    data = sealed()
    start = len(data) - len(b"payload")
    head = len(data[:start].rstrip(b"\0"))
    for position in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            if position < head or position >= start:
                with pytest.raises((CorruptObjectError, UnsupportedFormatError)):
                    read(bytes(damaged))
            else:
                assert bytes(read(bytes(damaged))[1]) == b"payload"


def test_every_truncation_and_every_surplus_is_noticed():
    data = sealed()
    for short in truncations(data):
        with pytest.raises(CorruptObjectError):
            read(short)
    with pytest.raises(CorruptObjectError):
        read(data + b"\0")


@pytest.mark.parametrize(
    "data",
    [
        sealed(identity=IDENTITY._replace(key="index/x/log/2")),
        sealed(identity=IDENTITY._replace(owner="another")),
        sealed(kind=Kind.CHECKPOINT),
        b"",
        b"PAR1" * 50,
    ],
    ids=["another key", "another owner", "another kind", "empty", "something else"],
)
def test_an_object_in_the_wrong_place_is_refused(data):
    with pytest.raises(CorruptObjectError):
        read(data)


def forge(
    version: int = VERSION, header: bytes | None = None, payload_length: int = 0, magic=b"\x89QUIVER\n"
) -> bytes:
    """An object whose checksums hold, whatever it says."""

    header = msgspec.msgpack.encode(tuple(IDENTITY)) if header is None else header
    head = struct.pack("<8sHHIQQ", magic, version, 2, len(header), payload_length, xxhash.xxh3_64_intdigest(b""))
    head += header
    head += struct.pack("<Q", xxhash.xxh3_64_intdigest(head))
    return head + bytes(padding(len(head)))


def test_a_future_version_is_refused_by_name():
    assert read(forge())[0] == IDENTITY
    for version in (0, VERSION + 1, 65535):
        with pytest.raises(UnsupportedFormatError, match=str(version)):
            read(forge(version))


@pytest.mark.parametrize(
    "data",
    [
        forge(header=b""),
        forge(header=b"\x94\xa1\xff\xa1a\xa1b\x01"),  # a string that is not UTF-8
        forge(header=b"\xdd\xff\xff\xff\xff"),
        forge(header=b"\x91" * 3000),
        forge(header=b"\x80" * 5000),
        forge(payload_length=2**64 - 1),
    ],
)
def test_lies_under_valid_checksums_are_refused(data):
    with pytest.raises(CorruptObjectError):
        read(data)


@given(RANDOM_BYTES)
def test_random_bytes_are_never_an_object(data):
    assert not survives(read, data)
    assert not survives(read, b"\x89QUIVER\n" + data)
