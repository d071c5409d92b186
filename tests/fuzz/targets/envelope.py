"""Envelopes: damaged ones are refused; with checksums that hold, whatever else they say is refused or read."""

from __future__ import annotations

import struct

import xxhash

from quiver.format.envelope import Identity, Kind, decode, encode, make_payload, padding, peek
from quiver.model.errors import DataError

KEY, OWNER = "index/x/log/00000000000000000007", "a" * 32
PAYLOAD = b"payload" * 20
WHOLE = b"".join(encode(Kind.LOG_ENTRY, Identity(KEY, OWNER, "b" * 32, 7), make_payload([PAYLOAD])))
FIXED = struct.Struct("<8sHHIQQ")
SEEDS = [b"w" + WHOLE, b"h" + WHOLE[: FIXED.size], b"h" + WHOLE[: FIXED.size + 120]]


def resealed(head: bytes) -> bytes:
    """An object with this head, under checksums that hold, and the payload."""
    fixed = head[: FIXED.size].ljust(FIXED.size, b"\0")
    header = head[FIXED.size :]
    magic, version, kind, _, _, _ = FIXED.unpack(fixed)
    head = FIXED.pack(magic, version, kind, len(header), len(PAYLOAD), xxhash.xxh3_64_intdigest(PAYLOAD)) + header
    head += xxhash.xxh3_64_intdigest(head).to_bytes(8, "little")
    return head + bytes(padding(len(head))) + PAYLOAD


def run(data: bytes) -> None:
    """After `w` a whole object; after `h` the head of one, sealed again."""
    whole = resealed(data[1:]) if data[:1] == b"h" else data[1:]
    try:
        identity, length = peek(Kind.LOG_ENTRY, KEY, OWNER, whole[:4096])
        assert (identity.key, identity.owner) == (KEY, OWNER)
        _, payload = decode(Kind.LOG_ENTRY, KEY, OWNER, whole)
    except DataError:
        return
    assert len(whole) == length
    assert bytes(payload) == PAYLOAD, "a payload that nobody wrote"
