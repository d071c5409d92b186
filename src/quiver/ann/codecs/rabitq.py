"""RaBitQ: a bit per coordinate of a row's offset from its origin, and two numbers that make the estimate unbiased.

Gao and Long, RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound for Approximate Nearest
Neighbor Search, SIGMOD 2024. Codes are scanned in C (native/scan.h), in place.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from quiver.ann import _kernels
from quiver.ann.code_lists import NOTHING, checked_sizes
from quiver.ann.codec import Codec, Estimates, Scanner
from quiver.ann.codec_state import pack, unpack
from quiver.ann.residuals import residual_blocks
from quiver.ann.rotation import Rotation
from quiver.model.errors import CorruptObjectError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.ann.codec import CodeLists
    from quiver.model.types import Float32Matrix

_SEED = struct.Struct("<Q")
_FACTORS_SIZE = 8  # of two floats
_BLOCK = 32  # codes, as in native/kernels.h


class RaBitQ(Codec):
    """One bit per coordinate and eight bytes."""

    name: ClassVar[str] = "rabitq"
    floats: ClassVar[int] = 2
    block: ClassVar[int] = _BLOCK

    def __init__(self, dimension: int, seed: int) -> None:
        self._dimension, self._seed = dimension, seed
        self._rotation = Rotation(dimension, seed)
        self.code_size = -(-dimension // 8) + _FACTORS_SIZE

    @classmethod
    def train(
        cls,
        rows: Float32Matrix,
        partitions: NDArray[np.int64],  # noqa: ARG003 - only the seed
        origins: Float32Matrix,  # noqa: ARG003
        seed: int,
    ) -> Self:
        return cls(rows.shape[1], seed)

    def encode_rows(
        self, rows: Float32Matrix, partitions: NDArray[np.int64], origins: Float32Matrix
    ) -> NDArray[np.uint8]:
        codes = np.empty((len(rows), self.code_size), np.uint8)
        for block, residuals in residual_blocks(rows, partitions, origins):
            _kernels.rabitq_codes(self._rotation.rows(residuals), codes[block])
        return codes

    def lay_out(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return in_blocks(codes)

    def take_up(self, stored: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
        blocks = stored.reshape(-1, _BLOCK * self.code_size)
        steps = self.code_size - _FACTORS_SIZE
        first, last = blocks[:, : _BLOCK * steps].reshape(-1, steps, 2, _BLOCK // 2).transpose(2, 0, 1, 3)
        signs = np.concatenate([first & 15 | last << 4, first >> 4 | last & 240], axis=2).transpose(0, 2, 1)
        factors = np.ascontiguousarray(blocks[:, _BLOCK * steps :]).view("<f4").reshape(-1, 2, _BLOCK)
        floats = np.ascontiguousarray(factors.transpose(0, 2, 1)).view(np.uint8)
        return np.concatenate([signs, floats], axis=2).reshape(-1, self.code_size)[:count]

    def scanner(self, lists: CodeLists, origins: Float32Matrix) -> Scanner:
        sizes = checked_sizes(lists, self.code_size, origins, _BLOCK)
        return RaBitQScanner(lists, sizes, origins, self._rotation)

    def encode(self) -> bytes:
        return pack(self._dimension, _SEED.pack(self._seed))

    @classmethod
    def decode(cls, state: memoryview, dimension: int) -> Self:
        (seed,) = _SEED.unpack(unpack(state, dimension, _SEED.size, "rabitq"))
        return cls(dimension, seed)


def in_blocks(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Codes of shape (n, size) in blocks of 32, as native/scan.h describes them, the last filled up with zeros."""
    count, size = codes.shape
    blocks = np.empty((-(-count // _BLOCK), _BLOCK * size), np.uint8)
    _kernels.rabitq_lay_out(np.ascontiguousarray(codes), blocks)
    return blocks.reshape(-1)


class RaBitQScanner(Scanner):
    """Scans the codes of one segment where they stand."""

    def __init__(
        self, lists: CodeLists, sizes: NDArray[np.int64], origins: Float32Matrix, rotation: Rotation
    ) -> None:
        """A scanner of partitions of these sizes.

        Origins are rotated when they are first needed: all at once would hold up a first query.
        """
        self._buffer, self._given, self._rotation = lists.buffer, origins, rotation
        self._origins = np.empty(origins.shape, np.float32)
        self._turned = np.zeros(len(origins), bool)
        self._all_turned = False
        self._sizes = sizes
        self._ends, self._offsets = np.ascontiguousarray(lists.ends), np.ascontiguousarray(lists.offsets)
        self._rows = int(lists.ends[-1])

    def scan(
        self,
        query: NDArray[np.float32],
        partitions: NDArray[np.int64],
        limit: int,
        allowed: NDArray[np.bool_] | None = None,
    ) -> Estimates:
        limit = min(limit, self._rows)
        if limit < 1:
            return NOTHING
        partitions = np.ascontiguousarray(partitions)
        if not self._all_turned and _kernels.all_marked(self._turned, self._sizes, partitions) < 0:
            self._turn(partitions)
        rows, scores = np.empty(limit, np.int64), np.empty(limit, np.float32)
        try:
            found = _kernels.rabitq_scan(
                self._rotation.row(query), self._origins, self._buffer, self._offsets, self._ends,
                partitions, None if allowed is None else np.ascontiguousarray(allowed),
                rows, scores,
            )  # fmt: skip
        except ValueError as error:
            raise CorruptObjectError(f"code lists: {error}") from error
        return Estimates(rows[:found], scores[:found])

    def _turn(self, partitions: NDArray[np.int64]) -> None:
        """Rotate the origins of partitions that were not needed before; by several threads, perhaps, alike."""
        fresh = partitions[~self._turned[partitions]]
        for number in fresh.tolist():
            self._origins[number] = self._rotation.row(self._given[number])
        self._turned[fresh] = True
        if self._turned.all():  # another thread may have said so before
            self._all_turned = True
