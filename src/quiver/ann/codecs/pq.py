"""Product quantization: a byte for every eight coordinates of a row's offset from its origin, by faiss.

Jegou, Douze and Schmid, Product Quantization for Nearest Neighbor Search, IEEE TPAMI 33(1), 2011. Rows are padded
with zeros to a multiple of eight coordinates, so that every dimension will do.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Self

import faiss
import numpy as np

from quiver.ann.code_lists import checked_sizes
from quiver.ann.codec import Codec
from quiver.ann.codec_state import pack, unpack_floats
from quiver.ann.faiss_lists import FaissScanner
from quiver.ann.residuals import residual_blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.ann.codec import CodeLists, Scanner
    from quiver.model.types import Float32Matrix

_WIDTH = 8  # coordinates per byte
_WORDS = 256  # of the codebook of each byte
_SAMPLE = 64 * _WORDS
_ROUNDS = 10  # of k-means; twice the sample and more rounds were measured to find no more


class ProductQuantizer(Codec):
    """A byte for every eight coordinates."""

    name: ClassVar[str] = "pq"

    def __init__(self, dimension: int, codebooks: NDArray[np.float32]) -> None:
        """`codebooks`: every word of every byte, flat."""
        self._dimension, self._codebooks = dimension, codebooks
        self._quantizer = faiss.ProductQuantizer(_padded(dimension), _padded(dimension) // _WIDTH, 8)
        faiss.copy_array_to_vector(codebooks, self._quantizer.centroids)
        self.code_size = int(self._quantizer.code_size)

    @classmethod
    def train(cls, rows: Float32Matrix, partitions: NDArray[np.int64], origins: Float32Matrix, seed: int) -> Self:
        chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:_SAMPLE])
        sample = rows[chosen] - origins[partitions[chosen]]
        if len(sample) < _WORDS:
            sample = np.resize(sample, (_WORDS, rows.shape[1]))
        padded = _pad(sample)
        quantizer = faiss.ProductQuantizer(padded.shape[1], padded.shape[1] // _WIDTH, 8)
        quantizer.cp.seed = seed % 2**31
        quantizer.cp.niter = _ROUNDS
        quantizer.cp.min_points_per_centroid = 1
        quantizer.train(padded)
        return cls(rows.shape[1], faiss.vector_to_array(quantizer.centroids))

    def encode_rows(
        self, rows: Float32Matrix, partitions: NDArray[np.int64], origins: Float32Matrix
    ) -> NDArray[np.uint8]:
        codes = np.empty((len(rows), self.code_size), np.uint8)
        for block, residuals in residual_blocks(rows, partitions, origins):
            codes[block] = self._quantizer.compute_codes(_pad(residuals))
        return codes

    def canonical(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Fewer sample rows than words make words alike, and which of these a row gets is up to the processor."""
        return self._alike[np.arange(self.code_size), codes]

    @cached_property
    def _alike(self) -> NDArray[np.uint8]:
        """Of each word the first that is like it, shape (code_size, _WORDS)."""
        words = (self._codebooks + np.float32(0)).reshape(self.code_size, _WORDS, -1)  # no -0, which equals 0
        firsts = [np.unique(each, axis=0, return_index=True, return_inverse=True)[1:] for each in words]
        return np.stack([first[inverse.reshape(-1)] for first, inverse in firsts]).astype(np.uint8)

    def scanner(self, lists: CodeLists, origins: Float32Matrix) -> Scanner:
        sizes = checked_sizes(lists, self.code_size, origins)
        width = _padded(self._dimension)
        coarse = faiss.IndexFlatL2(width)
        coarse.add(_pad(origins))
        index = faiss.IndexIVFPQ(coarse, width, len(origins), self.code_size, 8, faiss.METRIC_L2, False)
        index.use_precomputed_table = -1  # they would take a kilobyte per byte of code and partition
        faiss.copy_array_to_vector(self._codebooks, index.pq.centroids)
        return FaissScanner(index, lists, sizes, _pad, faiss.SearchParametersIVF)

    def encode(self) -> bytes:
        return pack(self._dimension, self._codebooks.astype("<f4").tobytes())

    @classmethod
    def decode(cls, state: memoryview, dimension: int) -> Self:
        return cls(dimension, unpack_floats(state, dimension, _WORDS * _padded(dimension), "pq"))


def _padded(dimension: int) -> int:
    return -(-dimension // _WIDTH) * _WIDTH


def _pad(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows, or one row, with zeros behind."""
    missing = _padded(rows.shape[-1]) - rows.shape[-1]
    if not missing:
        return np.ascontiguousarray(rows)
    return np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, missing)])
