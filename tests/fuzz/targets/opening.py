"""Openings: the directory, and bodies that lie inside."""

from __future__ import annotations

from quiver.format.opening import Head, Opening, decode, encode
from quiver.model.errors import DataError

SEEDS = [
    b"".join(encode(opening))
    for opening in (
        Opening(3, b"c" * 70, [Head("", "one", b"1" * 64), Head("a" * 32, "two", b"2" * 9)]),
        Opening(1 << 40, b"", []),
    )
]


def run(data: bytes) -> None:
    """The payload of an opening."""
    try:
        found = decode("key", memoryview(data))
    except DataError:
        return
    bodies = [found.checkpoint, *(head.body for head in found.heads)]
    assert all(body.obj is data for body in bodies)  # type: ignore[union-attr]
    assert sum(map(len, bodies)) <= len(data)
