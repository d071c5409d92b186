"""Searches one segment: filter to rows, plan, then gather, scan or probe. What it finds has bounds, always of the
exact score: codes only choose which rows are scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quiver.engine.native.candidates import Candidates
from quiver.engine.native.exact_search import Found, gather, scan, work_of
from quiver.engine.native.planner import Method, Shape, plan
from quiver.engine.native.probe import Probe
from quiver.engine.native.snapshot import row_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyroaring import BitMap

    from quiver.engine.native.exact_search import Target
    from quiver.engine.native.snapshot import OpenSegment
    from quiver.model.filter import Filter
    from quiver.storage.segment_reader import SegmentReader

_CODE_SHARE = 1 / 8  # of the cost of a float32 row


def expected_rows(reader: SegmentReader, recall: float) -> float:
    """How many rows' worth of float32 scores a small query without a filter costs, about."""
    codes = reader.codes
    if codes.calibration is None or recall >= 1:
        return reader.rows
    share = codes.calibration.partitions_for(10, recall) / len(codes.ends)
    return len(codes.ends) + reader.rows * share * (_CODE_SHARE if codes.code_size else 1)


def live_matches(segment: OpenSegment, condition: Filter | None) -> tuple[BitMap | None, int]:
    """The live rows that match, None without a condition; and how many rows are live and match."""
    reader, dead = segment
    if condition is None:
        return None, reader.rows - len(dead)
    allowed = reader.columns.select(condition)
    if dead:
        allowed -= dead
    return allowed, len(allowed)


def search_segment(segment: OpenSegment, target: Target) -> Found:
    """Candidates among which the nearest live, matching rows are."""
    reader, dead = segment
    allowed, matches = live_matches(segment, target.filter)
    codes = reader.codes
    calibration = codes.calibration if target.point is not None else None
    coded, refined = codes.code_size > 0, codes.refiner is not None
    shape = Shape(reader.rows, len(codes.ends), calibration, coded, refined, not reader.stable)
    chosen = plan(shape, matches, target.limit, target.recall, filtered=allowed is not None)
    if chosen.method is Method.PROBE and calibration is not None and target.point is not None:
        rows = None if allowed is None else row_numbers(allowed)
        mask = row_mask(reader.rows, None, dead) if rows is None else _marked(reader.rows, rows)
        return Probe(reader, target, target.point, chosen, calibration, mask, matches, rows).run()
    if chosen.method is Method.GATHER:
        candidates = gather(reader, segment.live() if allowed is None else row_numbers(allowed), target)
    elif chosen.method is Method.SCAN:
        reader.require_all()
        candidates = Candidates.join(scan(reader, row_mask(reader.rows, allowed, dead), target))
    else:
        candidates = gather(reader, np.zeros(0, np.int64), target)
    read = reader.rows if chosen.method is Method.SCAN else len(candidates.rows)
    probed = 0 if chosen.method is Method.NONE else len(codes.ends)
    return Found(candidates, work_of(reader, chosen.method, matches, probed, 0, read))


def row_mask(rows: int, allowed: BitMap | None, dead: BitMap) -> NDArray[np.bool_] | None:
    """Which rows may be returned, shape (rows,); None for all of them."""
    if allowed is not None:
        return _marked(rows, row_numbers(allowed))
    return ~_marked(rows, row_numbers(dead)) if dead else None


def _marked(rows: int, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """A mask of the rows with these numbers, shape (rows,)."""
    mask = np.zeros(rows, bool)
    mask[numbers] = True
    return mask
