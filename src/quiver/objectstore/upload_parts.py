"""How a large body is cut into the parts of an upload: sizes, and views of the body without copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from quiver.objectstore.store import Buffer

MOST_PARTS = 10_000
"""What S3 and Google take in one upload; Azure takes more."""

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class LargePuts:
    """How a store uploads large bodies.

    Attributes:
        threshold: bytes; larger bodies are uploaded in parts.
        part_bytes: of each part but the last, unless there would be more than `MOST_PARTS`. S3 takes no less than
            5 MiB.
        at_once: parts of one body on their way at a time.
    """

    threshold: int = 64 * _MIB
    part_bytes: int = 16 * _MIB
    at_once: int = 4

    def part_size(self, nbytes: int) -> int:
        """Bytes of each part but the last, of a body of `nbytes`."""
        least = -(-nbytes // MOST_PARTS)
        return max(self.part_bytes, -(-least // _MIB) * _MIB)


def pieces(parts: Sequence[Buffer], size: int) -> Iterator[memoryview]:
    """Views of the concatenated parts, in order, each of `size` bytes at most: none makes two parts."""
    for part in parts:
        view = memoryview(part).cast("B")
        for start in range(0, view.nbytes, size):
            yield view[start : start + size]


def slice_of(parts: Sequence[Buffer], start: int, end: int) -> bytes:
    """The bytes from `start` to `end` of the concatenated parts."""
    found = bytearray()
    for part in parts:
        view = memoryview(part).cast("B")
        found += view[max(start, 0) : max(end, 0)]
        start, end = start - view.nbytes, end - view.nbytes
    return bytes(found)
