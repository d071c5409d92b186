"""Locality-sensitive hashing by signs: on which side of random hyperplanes through its origin a row lies.

Charikar, Similarity Estimation Techniques from Rounding Algorithms, STOC 2002: two rows differ in a bit with a
probability of their angle over pi. With the norm of the row, which is kept too, the angle at the origin gives a
squared distance, so that rows of different partitions compare. NumPy only.

The hyperplanes are rows of one random rotation of as many dimensions as there are bits.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from quiver.ann.code_lists import NOTHING, checked_rows, checked_sizes
from quiver.ann.codec import Codec, Estimates, Scanner
from quiver.ann.codec_state import pack, unpack
from quiver.ann.residuals import residual_blocks
from quiver.ann.rotation import Rotation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.ann.codec import CodeLists
    from quiver.model.types import Float32Matrix

_SEED = struct.Struct("<Q")
_WORD = 64
_NORM = 8  # bytes: a float64, so that codes consist of whole words
_MOST_BITS = 4096


class SignHashes(Codec):
    """Two bits per coordinate, up to a maximum, and eight bytes."""

    name: ClassVar[str] = "lsh"

    def __init__(self, dimension: int, seed: int) -> None:
        self._dimension, self._seed = dimension, seed
        self.bits = max(min(-(-2 * dimension // _WORD) * _WORD, _MOST_BITS), -(-dimension // _WORD) * _WORD)
        self._rotation = Rotation(self.bits, seed)
        self.code_size = self.bits // 8 + _NORM

    @classmethod
    def train(
        cls,
        rows: Float32Matrix,
        partitions: NDArray[np.int64],  # noqa: ARG003 - only the seed
        origins: Float32Matrix,  # noqa: ARG003
        seed: int,
    ) -> Self:
        return cls(rows.shape[1], seed)

    def project(self, rows: Float32Matrix) -> Float32Matrix:
        """Signed positions of rows against each hyperplane, shape (n, bits); lengths are kept."""
        padded = np.zeros((len(rows), self.bits), np.float32)
        padded[:, : rows.shape[1]] = rows
        return self._rotation.rows(padded)

    def encode_rows(
        self, rows: Float32Matrix, partitions: NDArray[np.int64], origins: Float32Matrix
    ) -> NDArray[np.uint8]:
        codes = np.empty((len(rows), self.code_size), np.uint8)
        for block, residuals in residual_blocks(rows, partitions, origins):
            norms = np.sqrt(np.einsum("ij,ij->i", residuals, residuals)).astype("<f8")
            codes[block, :-_NORM] = np.packbits(self.project(residuals) > 0, axis=1)
            codes[block, -_NORM:] = norms[:, None].view(np.uint8)
        return codes

    def scanner(self, lists: CodeLists, origins: Float32Matrix) -> Scanner:
        return SignScanner(self, lists, origins)

    def encode(self) -> bytes:
        return pack(self._dimension, _SEED.pack(self._seed))

    @classmethod
    def decode(cls, state: memoryview, dimension: int) -> Self:
        (seed,) = _SEED.unpack(unpack(state, dimension, _SEED.size, "lsh"))
        return cls(dimension, seed)


class SignScanner(Scanner):
    """Counts the bits in which rows differ from a query."""

    def __init__(self, codec: SignHashes, lists: CodeLists, origins: Float32Matrix) -> None:
        self._codec, self._lists = codec, lists
        self._sizes = checked_sizes(lists, codec.code_size, origins)
        self._rows = int(self._sizes.sum())
        self._origins = codec.project(origins)
        self._signs_only = np.append(np.ones(codec.bits // _WORD, np.float32), np.float32(0))
        self._cosines = np.cos(np.arange(codec.bits + 1) * (np.pi / codec.bits)).astype(np.float32)

    def scan(
        self,
        query: NDArray[np.float32],
        partitions: NDArray[np.int64],
        limit: int,
        allowed: NDArray[np.bool_] | None = None,
    ) -> Estimates:
        partitions = partitions[self._sizes[partitions] > 0]
        if limit < 1 or not len(partitions):
            return NOTHING
        offsets = self._codec.project(query[None, :]) - self._origins[partitions]
        signs = np.zeros((len(partitions), self._codec.code_size), np.uint8)  # and nothing over the norm
        signs[:, :-_NORM] = np.packbits(offsets > 0, axis=1)
        rows, words = self._differences(partitions, signs.view(np.uint64))
        squares = np.repeat(np.einsum("ij,ij->i", offsets, offsets), self._sizes[partitions])
        if allowed is not None:
            kept = allowed[rows]
            rows, words, squares = rows[kept], words[kept], squares[kept]
        scores = self._scores(words, squares)
        nearest = np.argpartition(scores, limit - 1)[:limit] if limit < len(scores) else np.arange(len(scores))
        nearest = nearest[np.argsort(scores[nearest], kind="stable")]
        return Estimates(rows[nearest], scores[nearest])

    def _differences(
        self, partitions: NDArray[np.int64], signs: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Row numbers, and codes with the signs of the query at their origin taken off by exclusive or."""
        sizes, width = self._sizes[partitions], self._codec.code_size
        starts, buffer = self._lists.offsets[partitions], self._lists.buffer
        words = np.empty((int(sizes.sum()), width // 8), np.uint64)
        numbers, end = [], 0
        for start, size, sign in zip(starts.tolist(), sizes.tolist(), signs, strict=True):
            first, end, middle = end, end + size, start + size * width
            np.bitwise_xor(buffer[start:middle].view(np.uint64).reshape(size, -1), sign, out=words[first:end])
            numbers.append(buffer[middle : middle + 8 * size])
        return checked_rows(np.concatenate(numbers).view(np.int64), self._rows), words

    def _scores(self, words: NDArray[np.uint64], squares: NDArray[np.float32]) -> NDArray[np.float32]:
        """Estimated squared distances: the law of cosines at the origin of each row."""
        differing = np.bitwise_count(words).astype(np.float32) @ self._signs_only
        with np.errstate(all="ignore"):  # bytes that are no norm give a score that is no number, which sorts last
            norms = words[:, -1].copy().view(np.float64).astype(np.float32)
            across = 2 * np.sqrt(squares) * self._cosines[differing.astype(np.int32)]
            scores: NDArray[np.float32] = squares + norms * (norms - across)
        return scores
