"""The rows of a segment on their way into it, in partition order: written, encoded, laid out."""

from __future__ import annotations

from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

import numpy as np

from quiver.ann._kernels import page_of
from quiver.ann.codec import CodeLists
from quiver.ann.partitioners.lloyd import squared_distances
from quiver.ann.space import to_space
from quiver.format import segment_index
from quiver.format.metadata_columns import MetadataColumnsBuilder
from quiver.format.rows_parquet import RowsWriter, TextPage, rows_per_group
from quiver.model.mapped import Behind, release
from quiver.model.threads import on_every_core
from quiver.storage.text_builder import TextsBuilder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from quiver.ann.codec import Codec
    from quiver.ann.partitioner import Partitioner
    from quiver.ann.refiner import Refiner
    from quiver.model.types import Float32Matrix, IndexSpec
    from quiver.storage.row_source import RowSource
    from quiver.storage.segment_builder import BuildOptions
    from quiver.storage.spool import Spool

Kind = TypeVar("Kind", np.float32, np.int64)
Sections: TypeAlias = "dict[str, bytes | memoryview | NDArray[np.generic]]"

BLOCK_BYTES = 1 << 20
"""Of rows: what is computed from so many stays near the processor."""


class SegmentParts:
    """How the rows are partitioned and encoded, and the codes.

    Attributes:
        names: of partitioner and codec.
        widths: bytes of a row's code, number, int8 row and text places, in a partition.
        offsets: where each partition starts in `lists.buffer`, and where the last ends.
    """

    def __init__(
        self,
        names: tuple[str, str],
        partitioner: Partitioner,
        ends: NDArray[np.int64],
        codec: Codec | None,
        refiner: Refiner | None,
        spool: Spool,
    ) -> None:
        self.names, self.partitioner, self.codec, self.refiner = names, partitioner, codec, refiner
        code_size = codec.code_size if codec else 0
        int8_size = partitioner.origins.shape[1] if refiner else 0
        text_size = segment_index.TEXT_PLACES if codec else 0
        self.code_block = codec.block if codec else 1
        self.widths = code_size, segment_index.ROW_NUMBER, int8_size, text_size
        self.offsets = segment_index.partition_offsets(ends, self.widths, self.code_block)
        self.lists = CodeLists(ends, spool.array(int(self.offsets[-1]) if codec else 0), self.offsets[:-1])

    def encode(self) -> Sections:
        """What the index says of them."""
        return {
            "refiner": self.refiner.encode() if self.refiner else b"",
            "codec": self.codec.encode() if self.codec else b"",
            "partitioner": self.partitioner.encode(),
            "ends": self.lists.ends,
        }


class Emitter:
    """Writes rows and codes in partition order."""

    def __init__(
        self,
        source: RowSource,
        spec: IndexSpec,
        options: BuildOptions,
        norms: NDArray[np.float32],
        parts: SegmentParts,
        partitions: NDArray[np.int32],
    ) -> None:
        self._source, self._spec, self._norms, self._progress = source, spec, norms, options.progress
        self._origins = parts.partitioner.origins
        self._partitions = partitions.astype(np.int64)
        self.lists = parts.lists
        self.codec = parts.codec
        self._refiner = parts.refiner
        self.rows_file = options.spool.open(4 * source.rows * spec.dimension)
        self._writer = RowsWriter(self.rows_file, spec.dimension)
        self.columns = MetadataColumnsBuilder(spec.non_filterable)
        self.texts = TextsBuilder(options.texts, options.spool)
        self.hashes = np.empty(source.rows, np.uint64)
        self._sizes = np.diff(self.lists.ends, prepend=0)
        self._fills = segment_index.code_fill(self._sizes, parts.widths[0], parts.code_block).tolist()
        self._squares = np.zeros(len(self.lists.ends), np.float64)

    @property
    def radii(self) -> NDArray[np.float32]:
        """Root mean square distance of the rows of each partition to its origin."""
        return np.sqrt(self._squares / np.maximum(self._sizes, 1)).astype(np.float32)

    def sections(self, norms: NDArray[np.float32]) -> Sections:
        """What the index says of the rows, whose norms are given in their order."""
        by_hash = np.argsort(self.hashes, kind="stable")
        found: Sections = {
            "partitions": self.lists.buffer,
            "key_hashes": self.hashes[by_hash],
            "key_rows": by_hash.astype(np.uint32),
            "key_offsets": self.layout.keys,
            "metadata_offsets": self.layout.metadata,
        }
        return found | {"norms": norms, "columns": self.columns.encode()}

    def run(self, order: NDArray[np.int64]) -> None:
        """Write everything; `order` is the row of the source for each row of the segment."""
        step, codes = rows_per_group(self._spec.dimension), Behind(self.lists.buffer)
        for start in range(0, len(order), step):
            rows = order[start : start + step]
            encoded = self._encoded(start, rows)
            begun = list(islice(encoded, 1))  # from now on the others are encoded while texts are read
            keys, metadata = self._source.texts(rows)
            self._writer.write(text_page(keys), chain(begun, encoded), text_page(metadata))
            self.columns.add(metadata)
            self.texts.add(metadata)
            self.hashes[start : start + len(rows)] = self._source.hashes(rows, keys)
            codes.passed(int(self.lists.offsets[self._partitions[start + len(rows) - 1]]))
            self._progress("write", start + len(rows), len(order))
        self.layout = self._writer.finish()
        if self.codec is not None:
            self._lay_out(self.codec)
            self._place_texts(self.codec.code_size + segment_index.ROW_NUMBER)
            release(self.lists.buffer)

    def _lay_out(self, codec: Codec) -> None:
        """Put the codes of every partition, which stand row by row, as they are to lie."""
        behind = Behind(self.lists.buffer)
        for size, offset in zip(self._sizes.tolist(), self.lists.offsets.tolist(), strict=True):
            behind.passed(offset)
            codes = self.lists.buffer[offset : offset + size * codec.code_size].reshape(size, -1)
            laid_out = codec.lay_out(codes)
            self.lists.buffer[offset : offset + len(laid_out)] = laid_out

    def _place_texts(self, code_bytes: int) -> None:
        """Put where the texts of every row are at the end of its partition; `code_bytes` come before int8 rows."""
        places = np.stack([self.layout.keys, self.layout.metadata], axis=1).astype("<u8")
        width = code_bytes + (self._origins.shape[1] if self._refiner else 0)
        starts = np.concatenate([[0], self.lists.ends[:-1]])
        for start, end, offset, fill in zip(
            starts.tolist(), self.lists.ends.tolist(), self.lists.offsets.tolist(), self._fills, strict=True
        ):
            at = offset + (end - start) * width + fill
            body = places[start:end].view(np.uint8).reshape(-1)
            self.lists.buffer[at : at + len(body)] = body

    def _encoded(self, start: int, order: NDArray[np.int64]) -> Iterator[Float32Matrix]:
        """Vectors of the rows of the segment from `start` on, in blocks whose codes have been put in place."""
        numbers = blocks(start, order, 4 * self._spec.dimension, BLOCK_BYTES)
        for done in on_every_core(self._encode, numbers):
            self._squares[done.lowest : done.lowest + len(done.squares)] += done.squares
            yield done.vectors

    def _encode(self, block: tuple[int, NDArray[np.int64]]) -> _Encoded:
        start, order = block
        vectors = self._source.vectors(order)
        partitions = self._partitions[start : start + len(order)]
        lowest, highest = int(partitions[0]), int(partitions[-1])
        squares = np.zeros(highest - lowest + 1)
        if len(self.lists.ends) == 1 and self.codec is None:
            return _Encoded(vectors, lowest, squares)
        rows = to_space(vectors, self._norms[order], self._spec.metric)
        codes = int8 = np.empty((len(rows), 0), np.uint8)
        if self.codec is not None:
            codes = self.codec.encode_rows(rows, partitions, self._origins)
            int8 = self._refiner.encode_rows(rows) if self._refiner else int8
        bounds = np.searchsorted(partitions, np.arange(lowest, highest + 2)).tolist()
        for number, (first, end) in enumerate(pairwise(bounds)):
            partition = lowest + number
            gaps = squared_distances(self._origins[partition], rows[first:end])
            squares[number] = gaps.sum(dtype=np.float64)
            if self.codec is not None:
                self._place(partition, start + first, codes[first:end], int8[first:end])
        return _Encoded(vectors, lowest, squares)

    def _place(self, partition: int, low: int, codes: NDArray[np.uint8], int8: NDArray[np.uint8]) -> None:
        """Put those of rows of a partition, from `low` on, where they belong."""
        first = int(self.lists.ends[partition - 1]) if partition else 0
        size = int(self.lists.ends[partition]) - first
        numbers = np.arange(low, low + len(codes), dtype="<i8").view(np.uint8).reshape(-1, 8)
        place = int(self.lists.offsets[partition])
        for block, fill in ((codes, self._fills[partition]), (numbers, 0), (int8, 0)):
            width = block.shape[1]
            at = place + (low - first) * width
            self.lists.buffer[at : at + block.size] = block.reshape(-1)
            place += size * width + fill


class _Encoded(NamedTuple):
    """Vectors that were encoded, and for each of their partitions the sum of squared distances to its origin.

    Attributes:
        lowest: the first of those partitions.
    """

    vectors: Float32Matrix
    lowest: int
    squares: NDArray[np.float64]


def text_page(texts: Sequence[bytes]) -> TextPage:
    """Texts as `RowsWriter` takes them."""
    sizes = np.empty(len(texts), np.int64)
    return TextPage(page_of(texts, sizes), sizes)


def blocks(first: int, rows: NDArray[Kind], row_bytes: int, nbytes: int) -> list[tuple[int, NDArray[Kind]]]:
    """Rows from number `first` on in blocks of so many bytes, each with the number of its first row."""
    step = max(1, nbytes // row_bytes)
    return [(first + start, rows[start : start + step]) for start in range(0, len(rows), step)]
