"""The hot part of a query, in C (src/quiver/ann/native): scans and distances without a copy of the rows.

Arrays are C-contiguous; float32 unless said otherwise. All sizes and places are checked: ValueError for what
does not fit or lies outside its array, TypeError for what is no array. Scans and distances release the GIL.
Results do not depend on the processor, but for those of `rotate_rows`: every variant returns the same bytes.
"""

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

VARIANTS: tuple[str, ...]
"""Instruction sets that this processor has kernels for, the fastest last: the one in use."""

def use_variant(name: str) -> None:
    """Use another variant from now on, to test it. Raises ValueError for one that is not in VARIANTS."""

def rabitq_scan(
    query: NDArray[np.float32],
    origins: NDArray[np.float32],
    codes: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    ends: NDArray[np.int64],
    partitions: NDArray[np.int64],
    allowed: NDArray[np.bool_] | None,
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
) -> int:
    """Find the rows of some partitions with the smallest estimated squared distances; how many were found.

    Args:
        query, origins: rotated; shapes (dimension,) and (partitions of the segment, dimension).
        codes, offsets, ends: see ann/codec.py, CodeLists; a code is described in native/scan.h.
        partitions: numbers of those to scan.
        allowed: which rows may be found, of shape (rows of the segment,); None for all.
        rows, scores: written from their beginning on, ascending by score and then by row; as many as are wanted.
            Damaged codes may have infinite scores.
    """

def rotate(
    signs: NDArray[np.float32], left: NDArray[np.float32], right: NDArray[np.float32], row: NDArray[np.float32]
) -> None:
    """Rotate a row of shape (dimension,) in place (ann/rotation.py).

    Args:
        signs: of each step, shape (steps, dimension).
        left, right: of shapes (a, a) and (b, b), with columns of zeros behind `right` up to a multiple of eight.
    """

def rotate_rows(
    signs: NDArray[np.float32], left: NDArray[np.float32], right: NDArray[np.float32], rows: NDArray[np.float32]
) -> None:
    """The same for rows of shape (n, dimension), rounded as is fastest on this processor.

    Nobody may use the rows meanwhile.
    """

def means(
    rows: NDArray[np.float32], order: NDArray[np.int64], starts: NDArray[np.int64], out: NDArray[np.float32]
) -> None:
    """Write the mean of each group of rows, summed in float64 in their order; of a group without rows, nothing.

    Nobody may change the arrays meanwhile.

    Args:
        rows: shape (n, dimension).
        order: row numbers, group by group.
        starts: where in `order` each group begins, and where the last one ends; shape (groups + 1,).
        out: shape (groups, dimension).
    """

def rabitq_codes(rows: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
    """Write the codes of rotated residuals r of shape (n, d): a bit a coordinate, 1 where it is positive, the
    first lowest; then, as float32, the squared norm s, and s * sqrt(d) / sum |r|.

    To the last bit as faiss's encoder: the sums go from coordinate to coordinate. But faiss does not divide by
    norms whose square is below epsilon, and would misjudge such short residuals. Nobody may change the rows
    meanwhile.

    Args:
        out: shape (n, ceil(d / 8) + 8).
    """

def byte_rows(
    rows: NDArray[np.float32], low: NDArray[np.float32], width: NDArray[np.float32], out: NDArray[np.uint8]
) -> None:
    """Write the level of each coordinate of rows of shape (n, d), a byte each, as faiss's 8-bit quantizer does it.

    Nobody may change the arrays meanwhile.

    Args:
        low, width: the range of each coordinate, shape (d,).
        out: shape (n, d).
    """

def rabitq_lay_out(codes: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Put codes of shape (n, size) in blocks of 32, as in native/scan.h, the last filled up with zeros.

    Args:
        out: shape (blocks, 32 * size).
    """

def nearest(ranks: NDArray[np.float32], margin: float, numbers: NDArray[np.int64]) -> int:
    """Write the numbers of the ranks at most `margin` above the least, ascending by rank; how many there are.

    Not more than there is room for in `numbers`.
    """

def nearest_points(
    query: NDArray[np.float32],
    points: NDArray[np.float32],
    margin: float,
    usual: float,
    numbers: NDArray[np.int64],
    levels: NDArray[np.uint8] | None,
    known: NDArray[np.float64] | None,
) -> tuple[int, float]:
    """The same for the squared distances of a query to points of shape (count, dimension), as of `squares`.

    Also the least of them.

    Args:
        usual: from this distance of the nearest point on, the margin grows in proportion to it; 0: it does not.
        levels, known: what `sketch_points` made of the points: the same comes out, sooner; or None.
    """

def sketch_points(points: NDArray[np.float32], levels: NDArray[np.uint8], known: NDArray[np.float64]) -> bool:
    """Sketch points of shape (count, dimension); false when one has components beyond 1e15 or no numbers.

    Args:
        levels: of shape (count, width), the dimension rounded up to a multiple of 16; filled with signed bytes.
        known: of shape (count, 3); filled with what a level stands for, the squared length of the levels, and a
            bound of the point's distance from them.
    """

def least(values: NDArray[np.float32], floor: float, wanted: int, numbers: NDArray[np.int64]) -> tuple[int, bool]:
    """Write the numbers of the `wanted` least values that are not below `floor`, and of those that equal the last.

    They ascend by value, then by number; how many there are, and whether any two of the values are equal.
    `numbers` has room for those of all values.
    """

def least_of(values: NDArray[np.float32], number: int) -> float:
    """The greatest of so many least values, at least one; infinite where one is not a number."""

def distances(
    query: NDArray[np.float32], rows: NDArray[np.float32], cosine: bool, out: NDArray[np.float32], /
) -> None:
    """Write the exact distance of a query to each row of a matrix, as ann/distance.py defines it."""

def distances_at(
    query: NDArray[np.float32],
    data: memoryview | NDArray[np.uint8],
    offsets: NDArray[np.int64],
    cosine: bool,
    out: NDArray[np.float32],
    /,
) -> None:
    """The same, to the rows that begin at these bytes of `data`."""

def bounds_at(
    query: NDArray[np.float32],
    norm: float | None,
    data: memoryview | NDArray[np.uint8],
    offsets: NDArray[np.int64],
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    /,
) -> None:
    """Write bounds of the scores (ann/exact.py) of the rows that begin at some bytes of `data`, summed in float32.

    Args:
        norm: of the query, positive, for cosine distances; None for squared euclidean ones.
        low, high: infinite for rows of whose sums float32 says nothing.
    """

def norms(rows: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Write the euclidean norm of each row of a matrix; the largest float32 where it is larger still."""

def norm(vector: NDArray[np.float32]) -> float:
    """The euclidean norm of a vector, not finite only if a component is not, and zero only if all are."""

def unit(vector: NDArray[np.float32], out: NDArray[np.float32]) -> float:
    """Write a vector divided by its norm; the norm."""

def squares(query: NDArray[np.float32], rows: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Write the squared distance of a query to each row of a matrix, summed in float32: for ranking."""

def refine_at(
    base: NDArray[np.float32],
    scale: NDArray[np.float32],
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    out: NDArray[np.float32],
) -> None:
    """Write, for each row of bytes that begins at an offset of `data`, the sum of (base - scale * byte)^2."""

def sift_at(
    base: NDArray[np.float32],
    scale: NDArray[np.float32],
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    keep: int,
    near: int,
    doubt: float,
    numbers: NDArray[np.int64],
    out: NDArray[np.float32],
) -> int:
    """Choose among these rows by what `refine_at` writes for them; how many are chosen.

    Chosen are the `keep` that score least, at least one, and all that tie with the last of them; all rows when
    fewer scores are numbers.

    Args:
        near: unless 0, none is chosen that scores more than `doubt` times the root of the `near`-th least score
            above this, where that is finite; at most `keep`.
        numbers, out: written from their beginning on, the rows' numbers, ascending, and their scores.
    """

class Notes:
    """What `take_notes` makes: a capsule, no class of its own."""

def covered(marks: bytearray, block: int, offsets: NDArray[np.int64], width: int, notes: Notes | None) -> bool:
    """Whether every block of `block` bytes that holds any of the `width` bytes from some offsets on is marked.

    With notes all these bytes are touched, and have to be here, too.
    """

def at_hand(marks: bytearray, block: int, offsets: NDArray[np.int64], width: int, notes: Notes | None) -> bool:
    """The same, except that nothing is touched unless everything is here and marked."""

def all_marked(
    marks: NDArray[np.bool_],
    sizes: NDArray[np.int64],
    numbers: NDArray[np.int64],
    bounds: NDArray[np.int64] = ...,
    notes: Notes | None = ...,
    /,
) -> int:
    """The sum of the sizes with some numbers when all of these are marked, else -1.

    With notes the ranges [bounds[n], bounds[n + 1]) of the numbers n are touched, and have to be here, too.
    """

def run_places(
    rows: NDArray[np.int64],
    ends: NDArray[np.int64],
    shifts: NDArray[np.int64],
    width: int,
    out: NDArray[np.int64],
) -> None:
    """Write where rows of some width begin, which lie in runs, one behind the other.

    Args:
        ends: the row after the last of each run, ascending.
        shifts: where the first row of all would be if it and all before a run lay right before that.
    """

def pick_parts(
    data: NDArray[np.uint8],
    places: NDArray[np.int64],
    ends: NDArray[np.int64],
    marks: NDArray[np.bool_],
    before: int,
    rows: NDArray[np.int64],
    out: NDArray[np.uint64],
    notes: Notes | None,
    start: int,
) -> bool:
    """Copy the same part of some rows out of partitions; False when one is out of bounds, not marked or not here.

    Args:
        data, places, ends: where in `data` each partition begins, and the row after its last.
        marks: whether each partition may be read.
        before: bytes of each row that stand before the part in a partition, in a block of all its rows.
        out: shape (numbers of a part, len(rows)).
        notes, start: of the object that has `data`, and where; what is copied is touched. None when all is here.
    """

def take_notes(
    here: NDArray[np.bool_],
    kept: NDArray[np.bool_],
    used: NDArray[np.int64],
    hot: NDArray[np.bool_],
    clock: NDArray[np.int64] | array[int],
    block: int,
) -> Notes:
    """Hold what is known of the blocks of `block` bytes of an object, for the functions that touch some.

    `clock` has the epoch and the horizon as they are now; those count that it has when a piece of work first
    touches the object. When this first touches a block, it becomes hot if it was last used before the horizon, and
    `used` becomes the epoch, unless it is later already. The GIL is held from then on until it was looked up
    whether the block is here, so that no other thread acts in between.
    """

def begin_work(of: object) -> None:
    """Begin a piece of work of this thread: what is touched until `end_work` counts once. Work may be nested."""

def end_work() -> tuple[int, int]:
    """End it: how many blocks, of all objects, it touched, and how many of them were `kept` when it did."""

def work_begun() -> object:
    """What the work of this thread was said to be of; None without work."""

def touched_of(notes: Notes, marks: NDArray[np.bool_]) -> tuple[int, int]:
    """How many of the marked blocks of an object the work of this thread has touched, and how many of them are
    `kept`."""

def touch(notes: Notes, starts: NDArray[np.int64] | int, ends: NDArray[np.int64] | int) -> bool:
    """Touch the blocks with bytes of some ranges [start, end), or of one; whether all are here.

    A range that reaches past the last block is not.
    """

def touch_parts(notes: Notes, bounds: NDArray[np.int64], numbers: NDArray[np.int64]) -> bool:
    """The same for the ranges [bounds[n], bounds[n + 1]) of some numbers n."""

def texts_at(
    data: memoryview, offsets: NDArray[np.uint64], marks: bytearray, block: int, notes: Notes | None
) -> list[bytes] | None:
    """The texts at some offsets of `data`, a 32-bit length before each.

    None when one is out of bounds, or lies in a block of `block` bytes that is not marked; with notes they are
    touched, and have to be here, too.
    """

def strings_at(
    data: memoryview, offsets: NDArray[np.uint64], marks: bytearray, block: int, notes: Notes | None
) -> list[str] | None:
    """The same decoded. Raises UnicodeDecodeError when one is not UTF-8."""

def slices_of(data: memoryview, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> list[bytes]:
    """The bytes [starts[n], ends[n]) of `data` for each n. Raises ValueError when some are not within it."""

def page_of(texts: Sequence[bytes], sizes: NDArray[np.int64]) -> bytes:
    """The texts one after the other, a 32-bit length before each; how many bytes each has is written to `sizes`,
    shape (len(texts),). Raises ValueError for one that has too many."""
