"""Checks of the codes and row numbers of a segment, which are untrusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quiver.ann.codec import Estimates
from quiver.model.errors import CorruptObjectError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.ann.codec import CodeLists
    from quiver.model.types import Float32Matrix

NOTHING = Estimates(np.empty(0, np.int64), np.empty(0, np.float32))
_ID_SIZE = 8  # bytes of a row number


def checked_sizes(lists: CodeLists, code_size: int, origins: Float32Matrix, block: int = 1) -> NDArray[np.int64]:
    """Rows of each partition, whose codes come in whole blocks.

    Raises CorruptObjectError when they do not lie within the buffer.
    """
    if not len(lists.ends) == len(lists.offsets) == len(origins) > 0:
        raise CorruptObjectError("code lists: numbers of partitions differ")
    sizes = np.diff(lists.ends, prepend=0)
    if (sizes < 0).any() or (sizes > len(lists.buffer) // (code_size + _ID_SIZE)).any():
        raise CorruptObjectError("code lists: impossible numbers of rows")
    room = len(lists.buffer) - sizes * (code_size + _ID_SIZE) - -sizes % block * code_size
    if (lists.offsets < 0).any() or (lists.offsets > room).any():
        raise CorruptObjectError("code lists: a partition outside the buffer")
    return sizes


def checked_rows(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Row numbers that were read from the lists of a segment of `count` rows. Raises CorruptObjectError."""
    if len(rows) and int(rows.view(np.uint64).max()) >= count:
        raise CorruptObjectError("code lists: the number of a row that is not there")
    return rows
