"""faiss over codes where they stand: an IVF index scans the partitions of a memory-mapped segment without a copy.

faiss has inverted lists for codes in a mapped file, `OnDiskInvertedLists`: a pointer, and for each list its size,
its capacity and its offset, where the codes of `capacity` rows lie and then their numbers. Here they point at a
buffer that is ours already.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
from faiss import swig_ptr

from quiver.ann.code_lists import NOTHING, checked_rows
from quiver.ann.codec import Estimates, Scanner

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from quiver.ann.codec import CodeLists

_FIELDS = 3  # of a list: size, capacity, offset, as 64-bit numbers


class InPlaceLists:
    """faiss inverted lists over a buffer, which it keeps.

    faiss unmaps the memory of such lists when it destroys them. This memory is not faiss's: the lists have no size
    to unmap, and lose their pointer before they go.
    """

    def __init__(self, lists: CodeLists, sizes: NDArray[np.int64], code_size: int) -> None:
        self.faiss = faiss.OnDiskInvertedLists()
        self._buffer = lists.buffer
        self.faiss.nlist = len(sizes)
        self.faiss.code_size = code_size
        self.faiss.read_only = True
        self.faiss.lists.resize(len(sizes))
        start = int(self.faiss.lists.data().this)
        fields = np.ctypeslib.as_array((ctypes.c_uint64 * _FIELDS * len(sizes)).from_address(start))
        fields[:] = np.stack([sizes, sizes, lists.offsets], axis=1)
        self.faiss.ptr = faiss.cast_integer_to_uint8_ptr(self._buffer.ctypes.data)

    def __del__(self) -> None:
        self.faiss.ptr = None


class FaissScanner(Scanner):
    """Scans with an IVF index of one segment."""

    def __init__(
        self,
        index: Any,
        lists: CodeLists,
        sizes: NDArray[np.int64],
        place: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        filtered: Callable[[], Any],
    ) -> None:
        """A scanner.

        Args:
            index: scores without the distances to the origins, which it is not given.
            sizes: rows of each partition.
            place: puts a query where the codes are.
            filtered: search parameters like those of the index, to put a row filter in.
        """
        self._lists, self._rows = InPlaceLists(lists, sizes, int(index.code_size)), int(sizes.sum())
        index.is_trained = True
        index.replace_invlists(self._lists.faiss, False)
        index.ntotal = self._rows
        index.nprobe = index.nlist  # as many as are named: without parameters, which cost time to make
        self._index, self._place, self._filtered = index, place, filtered
        self._no_distances = np.zeros(index.nlist, np.float32)

    def scan(
        self,
        query: NDArray[np.float32],
        partitions: NDArray[np.int64],
        limit: int,
        allowed: NDArray[np.bool_] | None = None,
    ) -> Estimates:
        limit = min(limit, self._rows)
        if limit < 1 or not len(partitions):
            return NOTHING
        placed = self._place(query)
        probes = np.full(self._index.nlist, -1, np.int64)
        probes[: len(partitions)] = partitions
        rows, scores = np.empty(limit, np.int64), np.empty(limit, np.float32)
        parameters = None
        if allowed is not None:
            parameters = self._filtered()
            parameters.nprobe = len(partitions)
            bits = np.packbits(allowed, bitorder="little")
            selector = faiss.IDSelectorBitmap(len(bits), swig_ptr(bits))  # named, for faiss does not keep it
            parameters.sel = selector
        self._index.search_preassigned_c(
            1, swig_ptr(placed), limit, swig_ptr(probes), swig_ptr(self._no_distances),
            swig_ptr(scores), swig_ptr(rows), False, parameters,
        )  # fmt: skip
        if rows[-1] < 0:
            found = int(np.count_nonzero(rows >= 0))
            rows, scores = rows[:found], scores[:found]
        return Estimates(checked_rows(rows, self._rows), scores)
