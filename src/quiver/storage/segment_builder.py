"""Builds a segment from any number of rows in bounded memory: partition, encode, lay out, calibrate.

The rows are read three times: for a sample and the norms, for their partitions, and in partition order for
writing; a fourth time for the true neighbours that calibration needs. What is as large as that goes to a spool.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

import numpy as np
import xxhash

from quiver.ann import registry
from quiver.ann.calibration import QUERIES, RANKS, calibrate, find_neighbours
from quiver.ann.codec import CodeLists
from quiver.ann.distance import norms
from quiver.ann.refiner import Refiner
from quiver.ann.space import is_tame, to_space
from quiver.format import key_filter, segment_index
from quiver.format.metadata_columns import MetadataColumnsBuilder
from quiver.format.rows_parquet import RowsWriter, rows_per_group
from quiver.model.progress import Progress, no_progress
from quiver.model.threads import every_core, on_every_core
from quiver.model.types import DistanceMetric
from quiver.storage.spool import Spool, release
from quiver.storage.text_builder import TextsBuilder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from quiver.ann.codec import Codec
    from quiver.ann.partitioner import Partitioner
    from quiver.model.types import Float32Matrix, IndexSpec, TextField
    from quiver.storage.row_source import RowSource

Kind = TypeVar("Kind", np.float32, np.int64)
Sections: TypeAlias = "dict[str, bytes | memoryview | NDArray[np.generic]]"

EXACT_FLOATS = 1 << 21
"""So many components are scanned in about a millisecond, and no structure makes it faster."""

_SEED = 7  # partitioners and codecs learn the same from the same rows on every node
_SAMPLE_BYTES = 256 << 20
_SAMPLE_PER_PARTITION = 64
_BALANCE = 4  # no partition holds more than this many times the mean
_DIVIDE_SAMPLE = 16_384
_LOOK_BYTES = 32 << 20
_PART_BYTES = 2 << 20
_BLOCK_BYTES = 1 << 20  # of rows: what is computed from them stays near the processor
_LEAST_ROWS = 2  # a row alone has no neighbour to calibrate with


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What building needs beside the rows.

    Attributes:
        spool: where large intermediate data go.
        exact_floats: a segment with fewer vector components in all is scanned whole.
        start: origins of segments with much of the same rows; they warm the partitioner's training up.
        progress: told about the rows done.
        texts: the text fields to make posting lists of.
    """

    spool: Spool = field(default_factory=Spool)
    exact_floats: int = EXACT_FLOATS
    start: Float32Matrix | None = None
    progress: Progress = no_progress
    texts: tuple[TextField, ...] = ()


class BuiltSegment(NamedTuple):
    """A segment that has no name yet.

    Attributes:
        rows_file: rows.parquet.
        order: for each row of the segment, its row in the source. Shape (rows,).
        nbytes: size of both objects, about.
        texts: the text fields it has posting lists of.
    """

    rows_file: memoryview
    footer: segment_index.Footer
    sections: Sections
    order: NDArray[np.int64]
    nbytes: int
    texts: tuple[TextField, ...] = ()


def build_segment(source: RowSource, spec: IndexSpec, options: BuildOptions | None = None) -> BuiltSegment:
    """Build from a source of at least one row. CPU and page-ins only; may take minutes."""
    return begin_segment(source, spec, options).finish()


def begin_segment(source: RowSource, spec: IndexSpec, options: BuildOptions | None = None) -> BegunSegment:
    """The same as far as the rows go, so that they can be stored while the rest is being built."""
    every_core()
    return _Builder(source, spec, options or BuildOptions()).begin()


class BegunSegment:
    """A segment of which the rows are laid out and encoded.

    Attributes:
        rows_file: rows.parquet.
    """

    def __init__(
        self,
        builder: _Builder,
        parts: _Parts,
        emitted: _Emitter,
        chosen: NDArray[np.int64],
        order: NDArray[np.int64],
    ) -> None:
        self.rows_file = emitted.rows_file.view()
        self._builder, self._parts, self._emitted = builder, parts, emitted
        self._chosen, self._order = chosen, order

    def finish(self) -> BuiltSegment:
        """Calibrate, and put the index together. CPU and page-ins only."""
        every_core()
        parts, emitted, options = self._parts, self._emitted, self._builder.options
        blocks = segment_index.block_digests(self.rows_file)
        release(self.rows_file)
        texts = emitted.texts.finish()
        sections = {
            **texts.large,
            **emitted.sections(self._builder.norms[self._order]),
            "blocks": blocks,
            **texts.small,
            "key_filter": key_filter.build(emitted.hashes),
            "digests": _digests(parts.lists.buffer, parts.offsets) if parts.codec else np.zeros(0, np.uint64),
            "radii": emitted.radii,
            "calibration": self._builder.calibrate(self._chosen, self._order, parts, emitted.radii),
            **parts.encode(),
        }
        footer = self._footer()
        sizes = (part.nbytes if isinstance(part, np.ndarray) else len(part) for part in sections.values())
        nbytes = len(self.rows_file) + sum(sizes)
        return BuiltSegment(self.rows_file, footer, sections, self._order, nbytes, options.texts)

    def _footer(self) -> segment_index.Footer:
        """All but the names."""
        parts, spec = self._parts, self._builder.spec
        code_size, _, int8_size, text_size = parts.widths
        return segment_index.Footer(
            version=segment_index.VERSION,
            key="",
            owner="",
            rows=len(self._order),
            dimension=spec.dimension,
            metric=spec.metric.value,
            partitioner=parts.names[0],
            codec=parts.names[1],
            code_size=code_size,
            int8_size=int8_size,
            rows_size=len(self.rows_file),
            block_bytes=segment_index.BLOCK_BYTES,
            runs=self._emitted.layout.runs,
            sections={},
            text_size=text_size,
            code_block=parts.code_block,
        )


class _Parts:
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


class _Builder:
    def __init__(self, source: RowSource, spec: IndexSpec, options: BuildOptions) -> None:
        self._source = source
        self.spec = spec
        self.options = options
        self.norms = np.empty(source.rows, np.float32)

    def begin(self) -> BegunSegment:
        chosen = self._sample_rows()
        sample = self._read_sample(chosen)
        names = self._structure()
        partitioner = self._train(registry.partitioner(names[0]), sample)
        partitioner, assigned = self._assign(partitioner)
        order = np.argsort(assigned, kind="stable").astype(np.int64)
        ends = np.cumsum(np.bincount(assigned, minlength=partitioner.count)).astype(np.int64)
        kind, codec = registry.codec(names[1]), None
        if kind is not None:
            codec = kind.train(sample, assigned[chosen].astype(np.int64), partitioner.origins, _SEED)
        refiner = Refiner.train(sample) if codec is not None and codec.refined else None
        parts = _Parts(names, partitioner, ends, codec, refiner, self.options.spool)
        emitted = _Emitter(self, parts, assigned[order])
        emitted.run(order)
        return BegunSegment(self, parts, emitted, chosen, order)

    # ---------------------------------------------------------------- sample

    def _sample_rows(self) -> NDArray[np.int64]:
        """Ascending numbers of the rows to learn from."""
        rows = self._source.rows
        most = min(_SAMPLE_PER_PARTITION * _count(rows), _SAMPLE_BYTES // (4 * self.spec.dimension))
        if rows <= most:
            return np.arange(rows)
        return np.sort(np.random.default_rng(_SEED).choice(rows, most, replace=False))

    def _read_sample(self, chosen: NDArray[np.int64]) -> Float32Matrix:
        """The sample in search space; on the way, the norms of all rows."""
        sample = np.empty((len(chosen), self.spec.dimension), np.float32)

        def read(block: tuple[int, Float32Matrix]) -> None:
            first, rows = block
            own = self.norms[first : first + len(rows)] = norms(rows)
            low, high = np.searchsorted(chosen, [first, first + len(rows)])
            local = chosen[low:high] - first
            sample[low:high] = to_space(rows[local], own[local], self.spec.metric)

        self._for_all_rows(read, _BLOCK_BYTES, "sample")
        return sample

    def _for_all_rows(self, do: Callable[[tuple[int, Float32Matrix]], None], nbytes: int, stage: str) -> None:
        """Call for all rows of the source, in blocks of so many bytes, each with the number of its first row."""
        for first, part in self._source.parts():
            for _ in on_every_core(do, _blocks(first, part, part.itemsize * part.shape[1], nbytes)):
                pass
            self.options.progress(stage, first + len(part), self._source.rows)

    def _structure(self) -> tuple[str, str]:
        """Names of partitioner and codec. Small segments stay exact, and so do those that float32 cannot rank."""
        spec = self.spec
        small = self._source.rows < _LEAST_ROWS or self._source.rows * spec.dimension < self.options.exact_floats
        if small or spec.recall >= 1 or not is_tame(self.norms):
            return "single", "flat"
        return spec.partitioner, spec.codec

    # ---------------------------------------------------------------- partitions

    def _train(self, kind: type[Partitioner], sample: Float32Matrix) -> Partitioner:
        self.options.progress("train", 0, self._source.rows)
        return kind.train(sample, _count(self._source.rows), _SEED, self.options.start)

    def _space(self, rows: NDArray[np.int64]) -> Float32Matrix:
        return to_space(self._source.vectors(rows), self.norms[rows], self.spec.metric)

    def parts(self, nbytes: int) -> Iterator[tuple[int, Float32Matrix]]:
        """All rows of the source in search space, in order, so many bytes at a time."""
        for start, rows in self._source.parts():
            for first, part in _blocks(start, rows, rows.itemsize * rows.shape[1], nbytes):
                yield first, self._in_space(first, part)

    def _in_space(self, first: int, rows: Float32Matrix) -> Float32Matrix:
        """Rows from number `first` on, in search space."""
        if self.spec.metric is DistanceMetric.EUCLIDEAN:
            return rows  # where they are
        found = np.empty(rows.shape, np.float32)

        def place(block: tuple[int, Float32Matrix]) -> None:
            start, some = block
            own = self.norms[first + start : first + start + len(some)]
            found[start : start + len(some)] = to_space(some, own, self.spec.metric)

        for _ in on_every_core(place, _blocks(0, rows, rows.itemsize * rows.shape[1], _BLOCK_BYTES)):
            pass
        return found

    def _assign(self, partitioner: Partitioner) -> tuple[Partitioner, NDArray[np.int32]]:
        """The partition of each row, after what is over-full was divided."""
        assigned = np.zeros(self._source.rows, np.int32)
        if partitioner.count > 1:

            def assign(block: tuple[int, Float32Matrix]) -> None:
                first, rows = block
                own = slice(first, first + len(rows))
                assigned[own] = partitioner.assign(to_space(rows, self.norms[own], self.spec.metric))

            self._for_all_rows(assign, _PART_BYTES, "assign")
            partitioner = self._balance(partitioner, assigned)
        return partitioner, assigned

    def _balance(self, partitioner: Partitioner, assigned: NDArray[np.int32]) -> Partitioner:
        """Divide partitions until none is over-full. `assigned` is changed in place."""
        most = _BALANCE * self._source.rows / partitioner.count
        sizes = np.bincount(assigned, minlength=partitioner.count)
        waiting = np.flatnonzero(sizes > most).tolist()
        while waiting:
            full = waiting.pop()
            members = np.flatnonzero(assigned == full)
            second = partitioner.count
            partitioner = partitioner.divide(
                full, self._space(members[:: -(-len(members) // _DIVIDE_SAMPLE)]), _SEED
            )
            moved = np.concatenate(
                [
                    partitioner.side(full, second, self._space(members[start : start + _DIVIDE_SAMPLE]))
                    for start in range(0, len(members), _DIVIDE_SAMPLE)
                ]
            )
            if not len(members) / 8 <= moved.sum() <= len(members) * 7 / 8:
                moved = (
                    np.arange(len(members)) >= len(members) // 2
                )  # copies of few rows: no geometry divides them
            assigned[members[moved]] = second
            waiting += [half for half in (full, second) if (assigned == half).sum() > most]
        return partitioner

    # ---------------------------------------------------------------- calibration

    def _held_out(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows to calibrate with: where there are enough, none of those that training has seen."""
        unseen = np.ones(self._source.rows, bool)
        unseen[chosen] = False
        among = np.flatnonzero(unseen) if unseen.sum() >= QUERIES else chosen
        return np.random.default_rng(_SEED).choice(among, min(QUERIES, len(among)), replace=False)

    def calibrate(
        self,
        chosen: NDArray[np.int64],
        order: NDArray[np.int64],
        parts: _Parts,
        radii: NDArray[np.float32],
    ) -> bytes:
        """b"" for a segment that is searched exactly."""
        partitioner, codec = parts.partitioner, parts.codec
        if codec is None and partitioner.count == 1:
            return b""
        asked = self._held_out(chosen)
        queries = np.ascontiguousarray(self._space(asked))
        rank = min(RANKS[-1], self._source.rows - 1)
        found = find_neighbours(queries, asked, self.parts(_LOOK_BYTES), rank)
        became = np.empty(len(order), np.int64)
        became[order] = np.arange(len(order))
        scanner = None if codec is None else codec.scanner(parts.lists, partitioner.origins)
        self.options.progress("calibrate", self._source.rows, self._source.rows)
        found = found._replace(rows=became[found.rows])
        return calibrate(queries, became[asked], found, partitioner, parts.lists.ends, radii, scanner).encode()


class _Emitter:
    """Writes rows and codes in partition order."""

    def __init__(self, builder: _Builder, parts: _Parts, partitions: NDArray[np.int32]) -> None:
        self._builder = builder
        self._origins = parts.partitioner.origins
        self._partitions = partitions.astype(np.int64)
        self.lists = parts.lists
        self.codec = parts.codec
        self._refiner = parts.refiner
        source, spec = builder._source, builder.spec
        self.rows_file = builder.options.spool.open(4 * source.rows * spec.dimension)
        self._writer = RowsWriter(self.rows_file, spec.dimension)
        self.columns = MetadataColumnsBuilder(spec.non_filterable)
        self.texts = TextsBuilder(builder.options.texts, builder.options.spool)
        self.hashes = np.empty(source.rows, np.uint64)
        self._squares = np.zeros(len(self.lists.ends), np.float64)

    @property
    def radii(self) -> NDArray[np.float32]:
        """Root mean square distance of the rows of each partition to its origin."""
        sizes = np.diff(self.lists.ends, prepend=0)
        return np.sqrt(self._squares / np.maximum(sizes, 1)).astype(np.float32)

    def sections(self, norms: NDArray[np.float32]) -> Sections:
        """What the index says of the rows, whose norms are given in their order."""
        by_hash = np.argsort(self.hashes, kind="stable")
        found: Sections = {
            "partitions": self.lists.buffer,
            "key_hashes": self.hashes[by_hash],
            "key_rows": by_hash.astype(np.uint32),
        }
        if self.codec is None:
            found |= {"key_offsets": self.layout.keys, "metadata_offsets": self.layout.metadata}
        return found | {"norms": norms, "columns": self.columns.encode()}

    def run(self, order: NDArray[np.int64]) -> None:
        """Write everything; `order` is the row of the source for each row of the segment."""
        builder = self._builder
        step = rows_per_group(builder.spec.dimension)
        for start in range(0, len(order), step):
            rows = order[start : start + step]
            keys, metadata = builder._source.texts(rows)
            self._writer.write(keys, self._encoded(start, rows), metadata)
            self.columns.add(metadata)
            self.texts.add(metadata)
            self.hashes[start : start + len(rows)] = builder._source.hashes(rows, keys)
            builder.options.progress("write", start + len(rows), len(order))
        self.layout = self._writer.finish()
        if self.codec is not None:
            self._lay_out(self.codec)
            self._place_texts(self.codec.code_size + segment_index.ROW_NUMBER)

    def _lay_out(self, codec: Codec) -> None:
        """Put the codes of every partition, which stand row by row, as they are to lie."""
        sizes = np.diff(self.lists.ends, prepend=0)
        for size, offset in zip(sizes.tolist(), self.lists.offsets.tolist(), strict=True):
            codes = self.lists.buffer[offset : offset + size * codec.code_size].reshape(size, -1)
            laid_out = codec.lay_out(codes)
            self.lists.buffer[offset : offset + len(laid_out)] = laid_out

    def _place_texts(self, code_bytes: int) -> None:
        """Put where the texts of every row are at the end of its partition; `code_bytes` come before int8 rows."""
        places = np.stack([self.layout.keys, self.layout.metadata], axis=1).astype("<u8")
        width = code_bytes + (self._origins.shape[1] if self._refiner else 0)
        starts = np.concatenate([[0], self.lists.ends[:-1]])
        for start, end, offset in zip(
            starts.tolist(), self.lists.ends.tolist(), self.lists.offsets.tolist(), strict=True
        ):
            at = offset + (end - start) * width + self._fill(end - start)
            body = places[start:end].view(np.uint8).reshape(-1)
            self.lists.buffer[at : at + len(body)] = body

    def _fill(self, size: int) -> int:
        """Bytes that fill up the last block of codes of a partition of so many rows."""
        return -size % self.codec.block * self.codec.code_size if self.codec else 0

    def _encoded(self, start: int, order: NDArray[np.int64]) -> Iterator[Float32Matrix]:
        """Vectors of the rows of the segment from `start` on, in blocks whose codes have been put in place."""
        blocks = _blocks(start, order, 4 * self._builder.spec.dimension, _BLOCK_BYTES)
        for done in on_every_core(self._encode, blocks):
            self._squares[done.lowest : done.lowest + len(done.squares)] += done.squares
            yield done.vectors

    def _encode(self, block: tuple[int, NDArray[np.int64]]) -> _Encoded:
        start, order = block
        vectors = self._builder._source.vectors(order)
        partitions = self._partitions[start : start + len(order)]
        lowest = int(partitions[0])
        if len(self.lists.ends) == 1 and self.codec is None:
            return _Encoded(vectors, lowest, np.zeros(1))
        rows = to_space(vectors, self._builder.norms[order], self._builder.spec.metric)
        gaps = rows - self._origins[partitions]
        squares = np.bincount(partitions - lowest, np.einsum("ij,ij->i", gaps, gaps)).astype(np.float64)
        if self.codec is not None:
            codes = self.codec.encode_rows(rows, partitions, self._origins)
            int8 = self._refiner.encode_rows(rows) if self._refiner else np.empty((len(rows), 0), np.uint8)
            for partition in range(lowest, int(partitions[-1]) + 1):
                self._place(partition, start, codes, int8)
        return _Encoded(vectors, lowest, squares)

    def _place(self, partition: int, start: int, codes: NDArray[np.uint8], int8: NDArray[np.uint8]) -> None:
        """Put those of the rows from `start` on that are in a partition where they belong."""
        first = int(self.lists.ends[partition - 1]) if partition else 0
        size = int(self.lists.ends[partition]) - first
        low, high = max(start, first), min(start + len(codes), first + size)
        inside = slice(low - start, high - start)
        numbers = np.arange(low, high, dtype="<i8").view(np.uint8).reshape(-1, 8)
        place = int(self.lists.offsets[partition])
        for block, fill in ((codes[inside], self._fill(size)), (numbers, 0), (int8[inside], 0)):
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


def _blocks(first: int, rows: NDArray[Kind], row_bytes: int, nbytes: int) -> list[tuple[int, NDArray[Kind]]]:
    """Rows from number `first` on in blocks of so many bytes, each with the number of its first row."""
    step = max(1, nbytes // row_bytes)
    return [(first + start, rows[start : start + step]) for start in range(0, len(rows), step)]


def _count(rows: int) -> int:
    """How many partitions rows are divided into: probing costs about as much as ranking the partitions."""
    return max(1, round(2 * math.sqrt(rows)))


def _digests(buffer: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The xxh3 of each partition."""
    digests = (xxhash.xxh3_64_intdigest(buffer[start:end].data) for start, end in pairwise(offsets.tolist()))
    return np.fromiter(digests, np.uint64, len(offsets) - 1)
