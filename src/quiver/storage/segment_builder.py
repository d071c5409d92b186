"""Builds a segment from any number of rows in bounded memory: partition, encode, lay out, calibrate.

The rows are read three times: for a sample and the norms, for their partitions, and in partition order for
writing; a fourth time, beside the training, for the true neighbours that calibration needs. What is as large as
that goes to a spool.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xxhash

from quiver.ann import registry
from quiver.ann.calibrating import QUERIES, RANKS, calibrate
from quiver.ann.distance import norms
from quiver.ann.neighbours import find_neighbours
from quiver.ann.refiner import Refiner
from quiver.ann.space import is_tame, to_space
from quiver.format import key_filter, segment_index
from quiver.model.mapped import STEP, Behind, release
from quiver.model.progress import Progress, no_progress
from quiver.model.threads import beside, building, on_every_core
from quiver.storage.segment_emitter import BLOCK_BYTES, Emitter, SegmentParts, blocks
from quiver.storage.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from quiver.ann.neighbours import Neighbours
    from quiver.ann.partitioner import Partitioner
    from quiver.model.types import Float32Matrix, IndexSpec, TextField
    from quiver.storage.row_source import RowSource
    from quiver.storage.segment_emitter import Sections

EXACT_FLOATS = 1 << 21
"""So many components are scanned in about a millisecond, and no structure makes it faster."""

_SEED = 7  # partitioners and codecs learn the same from the same rows on every node
_SAMPLE_BYTES = 256 << 20
_SAMPLE_PER_PARTITION = 64
_BALANCE = 4  # no partition holds more than this many times the mean
_DIVIDE_SAMPLE = 16_384
_LOOK_ROWS = 65_536  # with their distances to every query 32 MiB
_PART_BYTES = 2 << 20
_EXACT = "single", "flat"  # partitioner and codec
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


class Asked(NamedTuple):
    """Rows of the source, by number, that calibration asks for: as queries, and their true neighbours."""

    rows: NDArray[np.int64]
    queries: Float32Matrix
    near: Neighbours


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
    with building():
        return _Builder(source, spec, options or BuildOptions()).begin()


class BegunSegment:
    """A segment of which the rows are laid out and encoded.

    Attributes:
        rows_file: rows.parquet.
    """

    def __init__(
        self,
        builder: _Builder,
        parts: SegmentParts,
        emitted: Emitter,
        asked: Asked | None,
        order: NDArray[np.int64],
    ) -> None:
        self.rows_file = emitted.rows_file.view()
        self._builder, self._parts, self._emitted = builder, parts, emitted
        self._asked, self._order = asked, order

    def finish(self) -> BuiltSegment:
        """Calibrate, and put the index together. CPU and page-ins only."""
        with building():
            return self._finish()

    def _finish(self) -> BuiltSegment:
        parts, emitted, options = self._parts, self._emitted, self._builder.options
        digests = _block_digests(self.rows_file)
        texts = emitted.texts.finish()
        large = {**texts.large, **emitted.sections(self._builder.norms[self._order])}
        sections = {
            **large,
            "blocks": digests,
            **texts.small,
            "key_filter": key_filter.build(emitted.hashes),
            "digests": _digests(parts.lists.buffer, parts.offsets) if parts.codec else np.zeros(0, np.uint64),
            **(_partition_blocks(large) if parts.codec else {}),
            "radii": emitted.radii,
            "calibration": self._builder.calibrate(self._asked, self._order, parts, emitted.radii),
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


class _Builder:
    def __init__(self, source: RowSource, spec: IndexSpec, options: BuildOptions) -> None:
        self._source = source
        self.spec = spec
        self.options = options
        self.norms = np.empty(source.rows, np.float32)

    def begin(self) -> BegunSegment:
        chosen = self._sample_rows()
        sample = self._read_sample(chosen)
        with beside(partial(self._ask, chosen)) as found:
            parts, assigned = self._learn(chosen, sample)
        del sample
        order = np.argsort(assigned, kind="stable").astype(np.int64)
        emitted = Emitter(self._source, self.spec, self.options, self.norms, parts, assigned[order])
        emitted.run(order)
        return BegunSegment(self, parts, emitted, found(), order)

    def _learn(self, chosen: NDArray[np.int64], sample: Float32Matrix) -> tuple[SegmentParts, NDArray[np.int32]]:
        """How rows are partitioned and encoded, and the partition of each."""
        names = self._structure()
        partitioner = self._train(registry.partitioner(names[0]), sample)
        partitioner, assigned = self._assign(partitioner)
        ends = np.cumsum(np.bincount(assigned, minlength=partitioner.count)).astype(np.int64)
        kind, codec = registry.codec(names[1]), None
        if kind is not None:
            codec = kind.train(sample, assigned[chosen].astype(np.int64), partitioner.origins, _SEED)
        refiner = Refiner.train(sample) if codec is not None and codec.refined else None
        return SegmentParts(names, partitioner, ends, codec, refiner, self.options.spool), assigned

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

        self._for_all_rows(read, BLOCK_BYTES, "sample")
        return sample

    def _for_all_rows(self, do: Callable[[tuple[int, Float32Matrix]], None], nbytes: int, stage: str) -> None:
        """Call for all rows of the source, in blocks of so many bytes, each with the number of its first row."""
        for first, part in self._source.parts():
            for _ in on_every_core(do, blocks(first, part, part.itemsize * part.shape[1], nbytes)):
                pass
            self.options.progress(stage, first + len(part), self._source.rows)

    def _structure(self) -> tuple[str, str]:
        """Names of partitioner and codec. Small segments stay exact, and so do those that float32 cannot rank."""
        spec = self.spec
        small = self._source.rows < _LEAST_ROWS or self._source.rows * spec.dimension < self.options.exact_floats
        if small or spec.recall >= 1 or not is_tame(self.norms):
            return _EXACT
        return spec.partitioner, spec.codec

    # ---------------------------------------------------------------- partitions

    def _train(self, kind: type[Partitioner], sample: Float32Matrix) -> Partitioner:
        self.options.progress("train", 0, self._source.rows)
        return kind.train(sample, _count(self._source.rows), _SEED, self.options.start)

    def _space(self, rows: NDArray[np.int64]) -> Float32Matrix:
        return to_space(self._source.vectors(rows), self.norms[rows], self.spec.metric)

    def _place(self, first: int, rows: Float32Matrix) -> Float32Matrix:
        """Rows from number `first` on, in search space."""
        return to_space(rows, self.norms[first : first + len(rows)], self.spec.metric)

    def _parts(self) -> Iterator[tuple[int, Float32Matrix]]:
        """All rows of the source in order, as many at a time as calibration looks at."""
        for start, rows in self._source.parts():
            yield from blocks(start, rows, 1, _LOOK_ROWS)

    def _assign(self, partitioner: Partitioner) -> tuple[Partitioner, NDArray[np.int32]]:
        """The partition of each row, after what is over-full was divided."""
        assigned = np.zeros(self._source.rows, np.int32)
        if partitioner.count > 1:

            def assign(block: tuple[int, Float32Matrix]) -> None:
                first, rows = block
                own = slice(first, first + len(rows))
                assigned[own] = partitioner.assign(self._place(first, rows))

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

    def _ask(self, chosen: NDArray[np.int64]) -> Asked | None:
        """Queries to calibrate with, and their true neighbours; None for a segment that is searched exactly."""
        if self._structure() == _EXACT:
            return None
        rows = self._held_out(chosen)
        queries = np.ascontiguousarray(self._space(rows))
        rank = min(RANKS[-1], self._source.rows - 1)
        return Asked(rows, queries, find_neighbours(queries, rows, self._parts(), rank, self._place))

    def calibrate(
        self,
        asked: Asked | None,
        order: NDArray[np.int64],
        parts: SegmentParts,
        radii: NDArray[np.float32],
    ) -> bytes:
        """b"" for a segment that is searched exactly."""
        partitioner, codec = parts.partitioner, parts.codec
        if asked is None or (codec is None and partitioner.count == 1):
            return b""
        became = np.empty(len(order), np.int64)
        became[order] = np.arange(len(order))
        scanner = None if codec is None else codec.scanner(parts.lists, partitioner.origins)
        self.options.progress("calibrate", self._source.rows, self._source.rows)
        near = asked.near._replace(rows=became[asked.near.rows])
        own, ends = became[asked.rows], parts.lists.ends
        return calibrate(asked.queries, own, near, partitioner, ends, radii, scanner).encode()


def _count(rows: int) -> int:
    """How many partitions rows are divided into: probing costs about as much as ranking the partitions."""
    return max(1, round(2 * math.sqrt(rows)))


def _partition_blocks(sections: Sections) -> Sections:
    """The checksums of `partitions` by blocks of the object, given all sections up to it."""
    offset = segment_index.offset_of(sections, "partitions")
    partitions = segment_index.bytes_of(sections["partitions"])
    return {segment_index.PARTITION_BLOCKS: segment_index.block_digests(partitions, offset)}


def _digests(buffer: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The xxh3 of each partition."""
    digests, behind = np.empty(len(offsets) - 1, np.uint64), Behind(buffer)
    for number, (start, end) in enumerate(pairwise(offsets.tolist())):
        digests[number] = xxhash.xxh3_64_intdigest(buffer[start:end].data)
        behind.passed(end)
    behind.ended()
    return digests


def _block_digests(rows_file: memoryview) -> NDArray[np.uint64]:
    """The xxh3 of each block of rows.parquet."""
    step = STEP - STEP % segment_index.BLOCK_BYTES
    digests = [np.zeros(0, np.uint64)]
    for start in range(0, len(rows_file), step):
        digests.append(segment_index.block_digests(rows_file[start : start + step]))
        release(rows_file, start, start + step)
    return np.concatenate(digests)
