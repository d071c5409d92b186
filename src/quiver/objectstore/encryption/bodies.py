"""A body on its way into an encrypted object: its chunks, made as they are asked for."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, overload

from quiver.objectstore.encryption.chunks import seal_chunk
from quiver.objectstore.encryption.layout import CHUNK, OVERHEAD, Header, sealed_size
from quiver.objectstore.store import Buffer, MadeParts, nbytes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_TOGETHER = 64  # chunks in a part


class SealedBody(MadeParts):
    """The concatenated parts of a body, encrypted; a part of it is 64 chunks, the last one fewer.

    The parts given stay as they are as long as this is used. Each access encrypts anew, to the same bytes.
    """

    def __init__(self, cipher: AESGCM, header: Header, name: str, parts: Sequence[Buffer]) -> None:
        self._cipher = cipher
        self._header = header
        self._name = name
        self._views = [view.cast("B") for part in parts if (view := memoryview(part)).nbytes]
        self._ends = list(accumulate(len(view) for view in self._views))
        self._length = nbytes_of(self._views)
        self._chunks = max(1, -(-self._length // CHUNK))
        self.nbytes = sealed_size(self._length)

    def __len__(self) -> int:
        return 1 + (self._chunks - 1) // _TOGETHER

    @overload
    def __getitem__(self, number: int) -> Buffer: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[Buffer]: ...

    def __getitem__(self, number: int | slice) -> Buffer | Sequence[Buffer]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        first = number * _TOGETHER
        last = min(self._chunks, first + _TOGETHER)
        nbytes = min(self._length, last * CHUNK) - first * CHUNK + (last - first) * OVERHEAD
        made = memoryview(bytearray(nbytes))
        rest = made
        for chunk in range(first, last):
            start, end = chunk * CHUNK, min(self._length, (chunk + 1) * CHUNK)
            header = self._header._replace(last=chunk + 1 == self._chunks).encode()
            length = end - start + OVERHEAD
            seal_chunk(self._cipher, header, self._name, chunk, self._slice(start, end), rest[:length])
            rest = rest[length:]
        return made.toreadonly()

    def _slice(self, start: int, end: int) -> Buffer:
        """The bytes of the body from `start` to `end`; a view when one part holds them."""
        number = bisect_right(self._ends, start)
        if start >= end:
            return b""
        base = self._ends[number] - len(self._views[number])
        if end <= self._ends[number]:
            return self._views[number][start - base : end - base]
        found = bytearray()
        while len(found) < end - start:
            at = start + len(found) - (self._ends[number] - len(self._views[number]))
            found += self._views[number][at : at + end - start - len(found)]
            number += 1
        return found
