"""RaBitQ: a bit per coordinate of a row's offset from its origin, and two numbers that make the estimate unbiased.

Gao and Long, RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound for Approximate Nearest
Neighbor Search, SIGMOD 2024. faiss encodes and scans; it leaves the random rotation, without which
estimates are poor, to its caller.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, ClassVar, Self

import faiss
import numpy as np

from quiver.ann.code_lists import checked_sizes
from quiver.ann.codec import Codec
from quiver.ann.codec_state import pack, unpack
from quiver.ann.faiss_lists import FaissScanner
from quiver.ann.residuals import residual_blocks
from quiver.ann.rotation import Rotation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.ann.codec import CodeLists, Scanner
    from quiver.model.types import Float32Matrix

_SEED = struct.Struct("<Q")
_QUERY_BITS = 4  # to which a query's coordinates are rounded: 8 cost a quarter more time and gain nothing
_VANISHING = np.finfo(np.float32).eps


class RaBitQ(Codec):
    """One bit per coordinate and eight bytes."""

    name: ClassVar[str] = "rabitq"

    def __init__(self, dimension: int, seed: int) -> None:
        self._dimension, self._seed = dimension, seed
        self._rotation = Rotation(dimension, seed)
        self._encoder = faiss.RaBitQuantizer(dimension, faiss.METRIC_L2, 1)
        self.code_size = int(self._encoder.code_size)

    @classmethod
    def train(cls, rows: Float32Matrix, origins: Float32Matrix, seed: int) -> Self:  # noqa: ARG003 - only the seed
        return cls(rows.shape[1], seed)

    def encode_rows(
        self, rows: Float32Matrix, partitions: NDArray[np.int64], origins: Float32Matrix
    ) -> NDArray[np.uint8]:
        codes = np.empty((len(rows), self.code_size), np.uint8)
        for block, residuals in residual_blocks(rows, partitions, origins):
            turned = self._rotation.rows(residuals)
            codes[block] = self._encoder.compute_codes(turned)
            _mend_short(codes[block], turned)
        return codes

    def scanner(self, lists: CodeLists, origins: Float32Matrix) -> Scanner:
        sizes = checked_sizes(lists, self.code_size, origins)
        coarse = faiss.IndexFlatL2(self._dimension)
        coarse.add(self._rotation.rows(origins))
        index = faiss.IndexIVFRaBitQ(coarse, self._dimension, len(origins), faiss.METRIC_L2, False, 1)
        index.qb = _QUERY_BITS
        return FaissScanner(index, lists, sizes, self._rotation.row, _parameters)

    def encode(self) -> bytes:
        return pack(self._dimension, _SEED.pack(self._seed))

    @classmethod
    def decode(cls, state: memoryview, dimension: int) -> Self:
        (seed,) = _SEED.unpack(unpack(state, dimension, _SEED.size, "rabitq"))
        return cls(dimension, seed)


def _parameters() -> Any:
    parameters = faiss.IVFRaBitQSearchParameters()
    parameters.qb = _QUERY_BITS
    return parameters


def _mend_short(codes: NDArray[np.uint8], residuals: Float32Matrix) -> None:
    """Give residuals too short for faiss their factor: below a square of epsilon it does not divide by the norm.

    A code ends with the squared norm s of the residual r, and the factor s * sqrt(dimension) / sum |r|.
    """
    squares = codes[:, -8:-4].copy().view(np.float32)[:, 0]
    short = np.flatnonzero(squares < _VANISHING)
    if len(short):
        sums = np.abs(residuals[short]).sum(axis=1)
        factors = np.divide(
            squares[short] * np.float32(np.sqrt(residuals.shape[1])), sums, out=np.zeros_like(sums), where=sums > 0
        )
        codes[short, -4:] = factors[:, None].view(np.uint8)
