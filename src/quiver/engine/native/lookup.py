"""Rows by key: the tail knows the newest version, or the segments' key hashes find it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quiver.engine.engine import Lookup, Row
from quiver.format.keys import key_hashes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from quiver.engine.native.candidates import Source
    from quiver.engine.native.snapshot import Snapshot
    from quiver.engine.native.tail import Place


def make_row(source: Source, number: int, *, vectors: bool, metadata: bool) -> Row:
    """Row `number` of a source, with what is asked for."""
    vector = source.take_vectors(np.array([number]))[0] if vectors else None
    return Row(source.key(number), vector, source.metadata_of(number) if metadata else None)


def look_up(
    snapshot: Snapshot, in_tail: dict[str, Place | None], keys: Iterable[str], *, vectors: bool, metadata: bool
) -> Lookup:
    """The rows with these distinct keys; `in_tail` is what the tail knew about them at the snapshot's commit."""
    rows = [
        make_row(place.block, place.row, vectors=vectors, metadata=metadata)
        for place in in_tail.values()
        if place is not None
    ]
    unknown = [key for key in keys if key not in in_tail]
    rows += _in_segments(snapshot, unknown, vectors=vectors, metadata=metadata)
    return Lookup(rows, snapshot.commit)


def _in_segments(snapshot: Snapshot, keys: Sequence[str], *, vectors: bool, metadata: bool) -> list[Row]:
    hashes = key_hashes(keys)
    rows = []
    for reader, dead in snapshot.segments:
        found = reader.find(keys, hashes)
        rows += [
            make_row(reader, row, vectors=vectors, metadata=metadata)
            for row in found[found >= 0].tolist()
            if row not in dead
        ]
    return rows
