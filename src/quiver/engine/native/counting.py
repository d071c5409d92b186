"""How many rows there are, or match, at a snapshot's commit: by columns and tombstones, without reading rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quiver.engine.engine import Count
from quiver.storage.cache.view import Missing

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pyroaring import BitMap

    from quiver.engine.native.snapshot import OpenSegment, Snapshot
    from quiver.model.filter import Filter


def select_live(segments: Sequence[OpenSegment], condition: Filter) -> list[BitMap]:
    """The live rows of each segment that match. Raises MissingBytesError with all that is missing for any."""
    found, missing = [], Missing()
    for reader, dead in segments:
        with missing:
            found.append(reader.columns.select(condition) - dead)
    missing.raise_any()
    return found


def count_rows(snapshot: Snapshot, condition: Filter | None, non_filterable: Collection[str]) -> Count:
    """See Index.count. Raises DataError."""
    if condition is None:
        rows = sum(reader.rows - len(dead) for reader, dead in snapshot.segments)
    else:
        rows = sum(map(len, select_live(snapshot.segments, condition)))
    tail = snapshot.tail.blocks(condition, non_filterable)
    return Count(rows + sum(int(np.count_nonzero(mask)) for _, mask in tail), snapshot.commit)
