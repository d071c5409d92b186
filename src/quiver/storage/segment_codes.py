"""The search structure of an open segment: partitions, codes and calibration; verified before first use.

What is at hand is verified partition by partition. What has to be fetched is verified by the blocks in which it
comes, if the segment has checksums of these: then parts of a partition can be had alone.
"""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xxhash

from quiver.ann import registry
from quiver.ann._kernels import all_marked, covered, pick_parts, run_places
from quiver.ann.calibration import Calibration
from quiver.ann.codec import CodeLists
from quiver.ann.refiner import Refiner
from quiver.format import segment_index
from quiver.format.sections import as_array
from quiver.format.segment_index import PARTITION_BLOCKS, TEXT_PLACES
from quiver.model.errors import CorruptObjectError
from quiver.storage.cache.view import BLOCK, Missing, covering

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.ann._kernels import Notes
    from quiver.ann.codec import Codec, Scanner
    from quiver.ann.partitioner import Partitioner
    from quiver.model.types import Float32Matrix
    from quiver.storage.index_sections import IndexSections


class PartitionContents(NamedTuple):
    """What a partition of n rows holds.

    Attributes:
        codes: uint8 of shape (n, code_size).
        rows: their numbers in the segment, int64 of shape (n,).
        int8: uint8 of shape (n, int8_size).
    """

    codes: NDArray[np.uint8]
    rows: NDArray[np.int64]
    int8: NDArray[np.uint8]


class Ranges(NamedTuple):
    """Of some partitions the same part: where it begins in the object, and where it ends. Shape (partitions,)."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


class SegmentCodes:
    """What a segment index holds beside keys and metadata.

    Attributes:
        partial: whether partitions were last asked for in parts. A hint: searches then begin with codes alone.
    """

    def __init__(self, sections: IndexSections) -> None:
        self.partial = False
        self._sections = sections
        self._key = sections.key
        self._footer = sections.footer
        sections.view.on_arrival(self._distrust)

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """The row after the last of each partition, int64 of shape (partitions,)."""
        if self._footer.version == 1:
            return np.array([self._footer.rows])
        ends = as_array(self._sections.section("ends"), np.dtype("<i8")).astype(np.int64)
        if not len(ends) or ends[0] < 0 or (np.diff(ends) < 0).any() or ends[-1] != self._footer.rows:
            raise CorruptObjectError(f"{self._key}: partitions do not cover the rows")
        return ends

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """The first row of each partition."""
        return np.concatenate([[0], self.ends[:-1]])

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Rows of each partition."""
        return self.ends - self.starts

    @cached_property
    def _trained(self) -> Partitioner:
        kind = registry.partitioner(self._footer.partitioner)
        partitioner = kind.decode(self._sections.section("partitioner"), self._footer.dimension)
        if partitioner.count != len(self.ends):
            raise CorruptObjectError(f"{self._key}: not as many partitions as its partitioner makes")
        return partitioner

    @property
    def partitioner(self) -> Partitioner | None:
        """Which partitions to probe; None when there is one partition only."""
        return self._trained if len(self.ends) > 1 else None

    @property
    def origins(self) -> Float32Matrix:
        """Of every partition, shape (partitions, dimension)."""
        return self._trained.origins

    @cached_property
    def radii(self) -> NDArray[np.float32]:
        """Root mean square distance of the rows of each partition to its origin, in search space."""
        return self._sections.array("radii", np.dtype("<f4"), len(self.ends)).view(np.float32)

    @cached_property
    def calibration(self) -> Calibration | None:
        """None when the segment is searched exactly."""
        state = self._sections.section("calibration") if self._footer.version > 1 else b""
        return Calibration.decode(memoryview(state)) if state else None

    @cached_property
    def code_size(self) -> int:
        """Bytes of a code; 0 when the rows themselves are scanned."""
        return self.codec.code_size if self.codec else 0

    @cached_property
    def codec(self) -> Codec | None:
        """How the rows are encoded; None when they themselves are scanned, or their codes lie as they did before
        version 4 and nobody reads them any more."""
        kind = registry.codec(self._footer.codec)
        if kind is None:
            if self._footer.code_size:
                raise CorruptObjectError(f"{self._key}: codes without a codec")
            return None
        if kind.block != self._footer.code_block:
            if self._footer.version >= segment_index.CODE_BLOCKS:
                raise CorruptObjectError(f"{self._key}: codes do not lie as its codec lays them out")
            return None
        codec = kind.decode(self._sections.section("codec"), self._footer.dimension)
        if codec.code_size != self._footer.code_size:
            raise CorruptObjectError(f"{self._key}: codes are not of the codec's size")
        return codec

    @cached_property
    def _partition_places(self) -> NDArray[np.int64]:
        """Where each partition starts in its section, and where the last one ends."""
        return segment_index.partition_offsets(self.ends, self._footer.widths, self._footer.code_block)

    @cached_property
    def _filled_places(self) -> NDArray[np.int64]:
        """Where each partition would start if nothing filled up its blocks."""
        footer = self._footer
        fills = segment_index.code_fill(self.sizes, footer.code_size, footer.code_block)
        return self._partition_places[:-1] + fills

    @cached_property
    def _partitions(self) -> NDArray[np.uint8]:
        """The section, verified partition by partition in `verify_partitions`."""
        view = self._sections.view.data[slice(*self._partition_range)]
        if len(view) != self._partition_places[-1]:
            raise CorruptObjectError(f"{self._key}: partitions do not fill their section")
        return np.frombuffer(view, np.uint8)

    @cached_property
    def _partition_range(self) -> tuple[int, int]:
        """Where the section starts and ends in the object."""
        return segment_index.section_range(self._key, self._footer, self._sections.view.data, "partitions")

    @cached_property
    def _partition_digests(self) -> NDArray[np.uint64]:
        return self._sections.array("digests", np.dtype("<u8"), len(self.ends)).view(np.uint64)

    @cached_property
    def _partition_verified(self) -> NDArray[np.bool_]:
        """Of each partition, whether all of it was verified."""
        return np.zeros(len(self.ends), bool)

    @cached_property
    def _codes_verified(self) -> NDArray[np.bool_]:
        """The same of its codes and row numbers."""
        return np.zeros(len(self.ends), bool)

    @cached_property
    def _texts_verified(self) -> NDArray[np.bool_]:
        """The same of its places of texts."""
        return np.zeros(len(self.ends), bool)

    @cached_property
    def scanner(self) -> Scanner | None:
        """Scores codes; None when the rows themselves are scanned."""
        if self.codec is None:
            return None
        return self.codec.scanner(
            CodeLists(self.ends, self._partitions, self._partition_places[:-1]), self.origins
        )

    @cached_property
    def refiner(self) -> Refiner | None:
        """Scores int8 rows; None when there are none."""
        if not self._footer.int8_size or self.codec is None:
            return None
        return Refiner.decode(self._sections.section("refiner"), self._footer.dimension)

    def verify_partitions(self, partitions: NDArray[np.int64]) -> int:
        """Require partitions, and check those that were not checked before; how many rows they have.

        Raises MissingBytesError, CorruptObjectError.
        """
        _ = self._partitions  # of the size that is due, else nothing is asked for
        view = self._sections.view
        rows = all_marked(self._partition_verified, self.sizes, partitions, self._bounds, view.notes)
        if rows >= 0:
            return rows
        view.require_parts(self._bounds, partitions)
        unverified = partitions[~self._partition_verified[partitions]]
        if self.in_parts:
            self._verify_blocks(self.ranges(unverified))
        else:
            self._check_partitions(unverified)
        for verified in (self._partition_verified, self._codes_verified, self._texts_verified):
            verified[unverified] = True
        return int(self.sizes[partitions].sum())

    def _check_partitions(self, partitions: NDArray[np.int64]) -> None:
        for number in partitions.tolist():
            start, end = self._partition_places[number : number + 2].tolist()
            if xxhash.xxh3_64_intdigest(self._partitions[start:end].data) != int(self._partition_digests[number]):
                raise CorruptObjectError(f"{self._key}: checksum of partition {number} does not match")

    @cached_property
    def _bounds(self) -> NDArray[np.int64]:
        """Where in the object each partition starts, and where the last one ends."""
        return self._partition_places + self._partition_range[0]

    def ranges(self, partitions: NDArray[np.int64]) -> Ranges:
        """Where some partitions are in the object."""
        return Ranges(self._bounds[partitions], self._bounds[partitions + 1])

    # ---------------------------------------------------------------- parts of partitions

    @cached_property
    def in_parts(self) -> bool:
        """Whether parts of a partition can be had alone."""
        return not self._sections.view.stable and PARTITION_BLOCKS in self._footer.sections

    def verify_codes(self, partitions: NDArray[np.int64]) -> int:
        """Require of partitions the codes and row numbers alone, and check them; how many rows they have.

        Of rows among these, `require_candidates` gets the rest. Only where `in_parts`.

        Raises MissingBytesError, CorruptObjectError.
        """
        self._sections.view.require_parts(self._code_bounds, 2 * partitions)
        rows = all_marked(self._codes_verified, self.sizes, partitions)
        if rows >= 0:
            return rows
        self._verify_blocks(self.code_ranges(partitions))
        self._codes_verified[partitions] = True
        return int(self.sizes[partitions].sum())

    def code_ranges(self, partitions: NDArray[np.int64]) -> Ranges:
        """Where the codes and row numbers of some partitions are in the object."""
        return Ranges(self._code_bounds[2 * partitions], self._code_bounds[2 * partitions + 1])

    @cached_property
    def _code_bounds(self) -> NDArray[np.int64]:
        """Where in the object the codes and row numbers of each partition start, and where they end, in turns."""
        ends = self._filled_places + self.sizes * sum(self._footer.widths[:2]) + self._partition_range[0]
        return np.stack([self._bounds[:-1], ends], axis=1).reshape(-1)

    def require_candidates(self, rows: NDArray[np.int64]) -> None:
        """Have what partitions hold of some rows beside codes come in one wave: int8 rows and places of texts.

        Raises MissingBytesError, CorruptObjectError.
        """
        missing = Missing()
        with missing:
            self._verify_int8(rows)
        with missing:
            if self._footer.text_size:
                self.text_places(rows)
        missing.raise_any()

    def _verify_int8(self, rows: NDArray[np.int64]) -> None:
        """Require the int8 rows of some rows, and check what was not checked before."""
        places = self.int8_places(rows)[1] + self._partition_range[0]
        width, view = self._footer.int8_size, self._sections.view
        if not covered(self._block_verified, BLOCK, places, width, view.notes):
            view.require(places, places + width)
            self._verify_blocks(Ranges(places, places + width))

    def _text_ranges(self, partitions: NDArray[np.int64]) -> Ranges:
        """Where what tells the places of the texts of some partitions is in the object, as it can be had."""
        if not self.in_parts:
            return self.ranges(partitions)
        sizes = self.sizes[partitions]
        starts = self._filled_places[partitions] + sizes * self._before_texts + self._partition_range[0]
        return Ranges(starts, starts + sizes * self._footer.text_size)

    def _verify_texts(self, partitions: NDArray[np.int64]) -> None:
        """Require of partitions what tells the places of texts, and check it."""
        if not self.in_parts:
            self.verify_partitions(partitions)
            return
        ranges = self._text_ranges(partitions)
        self._sections.view.require(*ranges)
        self._verify_blocks(ranges)
        self._texts_verified[partitions] = True

    def _verify_blocks(self, ranges: Ranges) -> None:
        """Check the blocks that hold some ranges, which are here, as far as they were not checked before."""
        holding = ranges.ends > ranges.starts
        numbers = np.unique(covering(ranges.starts[holding], ranges.ends[holding]))
        (start, end), first = self._partition_range, self._partition_range[0] // BLOCK
        for number in numbers[~np.frombuffer(self._block_verified, bool)[numbers]].tolist():
            digest = self._sections.view.digest(max(number * BLOCK, start), min((number + 1) * BLOCK, end))
            if digest != int(self._block_digests[number - first]):
                raise CorruptObjectError(
                    f"{self._key}: checksum of block {number} of the partitions does not match"
                )
            self._block_verified[number] = 1

    @cached_property
    def _block_digests(self) -> NDArray[np.uint64]:
        """The xxh3 of each block of the object, as far as it holds partitions."""
        start, end = self._partition_range
        count = -(-end // BLOCK) - start // BLOCK
        return self._sections.array(PARTITION_BLOCKS, np.dtype("<u8"), count).view(np.uint64)

    @cached_property
    def _block_verified(self) -> bytearray:
        """Of each block of the object up to the end of the partitions, whether it was verified."""
        return bytearray(-(-self._partition_range[1] // BLOCK))

    def verify_checksums(self) -> None:
        """Check that the checksums of partitions and those of blocks are of the same bytes, which are all read.

        Raises MissingBytesError, CorruptObjectError.
        """
        self._sections.view.require(*self._partition_range)
        every = np.arange(len(self.ends))
        self._check_partitions(every)
        if PARTITION_BLOCKS in self._footer.sections:
            self._verify_blocks(self.ranges(every))

    def _distrust(self, arrived: NDArray[np.int64]) -> None:
        """Have these blocks, and the partitions that lie in them, checked, perhaps again."""
        if "_block_verified" in self.__dict__:
            np.frombuffer(self._block_verified, np.uint8)[arrived[arrived < len(self._block_verified)]] = 0
        names = ("_partition_verified", "_codes_verified", "_texts_verified")
        verified = [self.__dict__[name] for name in names if name in self.__dict__]
        if not verified:
            return  # none was yet
        places = self._bounds
        firsts = np.searchsorted(places, arrived * BLOCK, "right") - 1
        ends = np.searchsorted(places, (arrived + 1) * BLOCK, "left")
        for first, end in zip(np.maximum(firsts, 0).tolist(), ends.tolist(), strict=True):
            for marks in verified:
                marks[first:end] = False

    def contents(self, partition: int) -> PartitionContents:
        """A partition that was verified, in a segment that has codes."""
        size, widths = int(self.sizes[partition]), self._footer.widths[:3]
        start, behind = int(self._partition_places[partition]), int(self._filled_places[partition])
        ends = behind + np.cumsum([widths[0], *widths[1:]]) * size
        rows, int8 = (self._partitions[first:end] for first, end in pairwise(ends.tolist()))
        codes = self._partitions[start : ends[0]]
        taken = self.codec.take_up(codes, size) if self.codec else codes.reshape(size, widths[0])
        return PartitionContents(taken, rows.view("<i8"), int8.reshape(size, widths[2]))

    def int8_rows(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """A copy of some int8 rows, shape (len(rows), dimension), in partitions that were verified."""
        partitions, starts = self.int8_places(rows)
        return np.lib.stride_tricks.sliding_window_view(partitions, self._footer.int8_size)[starts]

    def int8_places(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The bytes of all partitions, and where in them int8 rows begin; their partitions were verified."""
        places = np.empty(len(rows), np.int64)
        run_places(rows, self.ends, self._int8_shifts, self._footer.int8_size, places)
        return self._partitions, places

    def text_places(self, rows: NDArray[np.int64], *, fetch: bool = True) -> NDArray[np.uint64] | None:
        """Where rows.parquet holds the key and the metadata of some rows, shape (len(rows), 2).

        None when a partition of theirs is not here and is not to be fetched.

        Raises IndexError, MissingBytesError, CorruptObjectError.
        """
        places = np.empty((TEXT_PLACES // 8, len(rows)), np.uint64)
        view = self._sections.view
        if not self._pick_places(rows, self._texts_verified, places, view.notes):
            partitions = np.unique(np.searchsorted(self.ends, rows, "right"))
            if partitions[-1] == len(self.ends):
                raise IndexError(f"{self._key}: a row past the last")
            if not (fetch or view.has(*self._text_ranges(partitions))):
                return None
            self._verify_texts(partitions)
            if not self._pick_places(rows, np.ones(len(self.ends), bool), places, view.notes):
                raise CorruptObjectError(f"{self._key}: a row outside the partitions")
        return places.T

    @cached_property
    def mean_partition(self) -> float:
        """Bytes of a partition. Raises CorruptObjectError."""
        return len(self._partitions) / len(self.ends)

    def _pick_places(
        self, rows: NDArray[np.int64], verified: NDArray[np.bool_], out: NDArray[np.uint64], notes: Notes | None
    ) -> bool:
        """Copy the last part of rows; whether all of these are here, and their partitions were verified."""
        places, before, start = self._filled_places, self._before_texts, self._partition_range[0]
        return pick_parts(self._partitions, places, self.ends, verified, before, rows, out, notes, start)

    @cached_property
    def _before_texts(self) -> int:
        """Bytes of a row in the parts before the last."""
        return sum(self._footer.widths[:-1])

    @cached_property
    def _int8_shifts(self) -> NDArray[np.int64]:
        """Where the int8 rows of each partition would start if those of all rows before it stood before them."""
        before = self._filled_places + self.sizes * sum(self._footer.widths[:2])
        return before - self.starts * self._footer.int8_size
