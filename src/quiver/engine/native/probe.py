"""Probes a segment: scores codes of the most promising partitions, then the best rows exactly."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from quiver.ann._kernels import least_of
from quiver.ann.calibration import REACH_RANK
from quiver.ann.codec import Estimates
from quiver.ann.partitioners.lloyd import squared_distances
from quiver.engine.native.candidates import Candidates
from quiver.engine.native.exact_search import Found, gather, gather_here, scan, work_of
from quiver.engine.native.planner import REFINE_FROM, Method
from quiver.engine.native.sparing import spare_int8
from quiver.model.record import Record
from quiver.model.types import DistanceMetric
from quiver.storage.cache.view import MissingBytesError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.ann.calibration import Calibration
    from quiver.ann.codec import Scanner
    from quiver.engine.native.exact_search import Target
    from quiver.engine.native.planner import Plan
    from quiver.storage.segment_reader import SegmentReader

_THIN = 0.7  # matches this much rarer among the nearest partitions than everywhere are pushed away by the filter
_TELLING = 50  # matches to be expected among the nearest partitions before their number says anything
_FAR_DEPTH = 8  # times as many codes are kept then: from afar all rows are about as distant, and codes tell little
_SPARE = 2  # times as many codes are gathered as are usually kept, for queries that need more
_DEEPER = 4  # times as many again, when that is too few
_FIRST_WAVE = 0.5  # recall that the partitions probed before the reach is known are good for


class _Sifted(Record, frozen=True):
    """Rows to score exactly.

    Attributes:
        scores: squared distances by their int8 rows, or what they are scored already.
        scored: those, then.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    scored: Candidates | None = None


class Probe:
    """Scores codes of the nearest partitions, then the best rows exactly.

    Without a filter, calibration tells how many partitions. With one, it is told by what was found: a first wave
    of partitions gives a distance, and a second takes in every partition that can still hold a nearer match. When
    the filter pushes the matches away from the query, calibration says nothing, and every partition that holds
    a match is scanned.

    Calibration also tells how many codes are usually kept. The farther a query is from the rows, the more their
    codes err: when more rows than usual may, by their codes, be among the nearest, all of those are looked at.
    A query farther away than usual also probes more partitions, with a filter and without.
    """

    def __init__(
        self,
        reader: SegmentReader,
        target: Target,
        point: NDArray[np.float32],
        chosen: Plan,
        calibration: Calibration,
        mask: NDArray[np.bool_] | None,
        matches: int,
        allowed: NDArray[np.int64] | None,
    ) -> None:
        """A probe; `allowed` are the numbers of the rows that a filter chose, ascending, None without one."""
        self._reader = reader
        self._target = target
        self._point = point
        self._partitions = chosen.partitions
        self._margin = chosen.margin
        self._depth = chosen.depth
        self._keep = chosen.keep
        self._error = chosen.error
        self._gathered = chosen.depth if chosen.error is None else _SPARE * chosen.depth
        self._wanted = min(target.limit, matches)
        self._calibration = calibration
        self._mask = mask
        self._matches = matches
        self._allowed = allowed
        self._later = False  # whether what is needed beside codes is yet to be required
        self._done: list[NDArray[np.int64]] = []
        self._away: float | None = None  # from the nearest origin
        self._int8 = ""  # see SourceWork
        self._probed = 0
        self._scored = 0
        self._read = 0

    def run(self) -> Found:
        scanned = self._scan(self._nearest()) if self._allowed is None else self._scan_filtered(self._allowed)
        count = len(self._reader.codes.ends)
        if len(scanned.rows) < self._wanted and self._probed < count:  # never fewer than there are
            rest = np.setdiff1d(np.arange(count), np.concatenate(self._done))
            scanned = self._merged(scanned, self._scan(rest))
        candidates = self._settle(scanned)
        work = work_of(
            self._reader, Method.PROBE, self._matches, self._probed, self._scored, self._read, self._int8
        )
        return Found(candidates, work)

    def _nearest(self) -> NDArray[np.int64]:
        """The partitions to probe without a filter, the most promising first."""
        partitioner = self._reader.codes.partitioner
        if partitioner is None:
            return np.zeros(1, np.int64)
        if self._margin is None:
            return partitioner.nearest(self._point, self._partitions)
        partitions, self._away = partitioner.within(self._point, self._margin, self._calibration.usual)
        return partitions

    def _distance(self, partition: np.int64) -> float:
        """From the query to the origin of a partition."""
        away = self._point - self._reader.codes.origins[partition]
        return math.sqrt(away.dot(away))

    def _scan(self, partitions: NDArray[np.int64]) -> Estimates:
        """The best codes of some partitions."""
        codes = self._reader.codes
        self._done.append(partitions)
        self._probed += len(partitions)
        if codes.scanner is None:
            self._scored += int(codes.sizes[partitions].sum())
            return self._scan_rows(partitions)
        return self._scan_codes(codes.scanner, partitions)

    def _scan_codes(self, scanner: Scanner, partitions: NDArray[np.int64]) -> Estimates:
        self._scored += self._verify(partitions)
        return scanner.scan(self._point, partitions, self._gathered, self._mask)

    def _verify(self, partitions: NDArray[np.int64]) -> int:
        """Require partitions, or their codes alone when that is worth it; how many rows they have."""
        codes = self._reader.codes
        if codes.partial:
            with suppress(MissingBytesError):
                rows = codes.verify_codes(partitions)
                self._later = True
                return rows
        try:
            return codes.verify_partitions(partitions)
        except MissingBytesError as missing:
            rounds = 1 if self._allowed is None else 2  # a filter has rows scored after its first wave, too
            codes.partial = partial = spare_int8(codes, partitions, missing, self._depth, rounds)
            if not partial:  # the hint is for other threads, too, which change it
                raise
        self._later = True
        return codes.verify_codes(partitions)

    def _scan_rows(self, partitions: NDArray[np.int64]) -> Estimates:
        """The same where the rows themselves are the codes."""
        codes, parts = self._reader.codes, [self._score(np.zeros(0, np.int64))]
        for start, end in zip(codes.starts[partitions].tolist(), codes.ends[partitions].tolist(), strict=True):
            parts += scan(self._reader, self._mask, self._target, start, end)
        scored = Candidates.join(parts)
        order = np.argsort(scored.low, kind="stable")[: self._depth]
        return Estimates(scored.rows[order], scored.low[order])

    def _merged(self, first: Estimates, second: Estimates) -> Estimates:
        """The best of both."""
        scores = np.concatenate([first.scores, second.scores])
        order = scores.argsort(kind="stable")[: self._gathered]
        return Estimates(np.concatenate([first.rows, second.rows])[order], scores[order])

    def _settle(self, scanned: Estimates) -> Candidates:
        """Of the rows with the best codes those that are to be scored exactly, so scored."""
        kept = self._sift(scanned.rows[: self._depth], self._keep)
        if self._error is not None and len(scanned.rows) > self._depth:
            bound = self._bound(kept, self._error)
            if scanned.scores[self._depth] <= bound < math.inf:
                rows = self._within(scanned, bound)
                kept = self._sift(rows, self._keep or 2 * self._target.limit + 16)
        return self._score(kept.rows) if kept.scored is None else kept.scored

    def _within(self, scanned: Estimates, bound: float) -> NDArray[np.int64]:
        """The rows of all codes with scores up to a bound, scanned again when not enough of them were kept."""
        scanner = self._reader.codes.scanner
        while scanner is not None and len(scanned.rows) >= self._gathered and scanned.scores[-1] <= bound:
            self._gathered *= _DEEPER
            scanned = self._scan_codes(scanner, np.concatenate(self._done))
        return scanned.rows[: scanned.scores.searchsorted(bound, "right")]

    def _bound(self, kept: _Sifted, error: float) -> float:
        """Up to which score codes may be those of rows as near as the last of the nearest (ann/calibration.py)."""
        score, away = least_of(kept.scores, self._wanted), self._away
        if away is None:  # a filter may have left nothing near the nearest origin
            last = kept.rows[kept.scores == score][:1]
            away = self._distance(self._reader.codes.ends.searchsorted(last, "right")[0]) if len(last) else 0.0
        doubled = kept.scored is not None and self._target.metric is DistanceMetric.COSINE
        return (2 * score if doubled else score) + error * away

    def _sift(self, rows: NDArray[np.int64], keep: int | None) -> _Sifted:
        """Of rows with good codes, the best by int8; all of them, scored exactly, when they are few."""
        codes = self._reader.codes
        rows = rows.copy()
        rows.sort()  # memory hands out what ascends many times as fast; np.sort takes twice as long
        if keep is None or len(rows) <= keep or codes.refiner is None:
            scored = self._score(rows)
            return _Sifted(rows, scored.high, scored)
        if (few := self._score_few(rows, keep)) is not None:
            return _Sifted(rows, few.high, few)
        if not self._reader.stable:
            self._int8 = "later" if self._later else "along"
        if self._later:
            codes.require_candidates(rows)
        near = 0 if self._reader.stable else self._wanted  # each may be a request or two otherwise
        best, scores = codes.refiner.nearest_at(self._point, *codes.int8_places(rows), keep, near)
        return _Sifted(rows[best], scores)

    def _score_few(self, rows: NDArray[np.int64], keep: int) -> Candidates | None:
        """All of a few rows of a remote segment, scored exactly as those of any other, when they are here."""
        if self._reader.stable or len(rows) > REFINE_FROM:
            return None
        scored = gather_here(self._reader, rows, self._target, keep)
        if scored is not None:
            self._read += len(rows)
        return scored

    def _score(self, rows: NDArray[np.int64]) -> Candidates:
        self._read += len(rows)
        return gather(self._reader, rows, self._target)

    # ---------------------------------------------------------------- with a filter

    def _scan_filtered(self, allowed: NDArray[np.int64]) -> Estimates:
        """The best codes of the partitions that may hold one of the nearest of some rows, given by number."""
        codes, limit = self._reader.codes, self._target.limit
        gaps, ranked = self._rank()
        found = np.diff(np.searchsorted(allowed, codes.ends), prepend=0)
        holding = ranked[found[ranked] > 0]
        wave = self._calibration.partitions_for(limit, _FIRST_WAVE)
        density = self._matches / self._reader.rows
        telling = int(codes.sizes[ranked].cumsum().searchsorted(_TELLING / density)) + 1
        near = ranked[: max(wave, min(telling, self._partitions))]
        if found[near].sum() < _THIN * density * codes.sizes[near].sum():
            self._depth *= _FAR_DEPTH
            self._gathered *= _FAR_DEPTH
            self._keep = _FAR_DEPTH * (2 * limit + 16) if codes.refiner is not None else None
            return self._scan(holding)
        enough = int(found[holding].cumsum().searchsorted(2 * limit)) + 1
        first = max(enough, wave)
        best = self._scan(holding[:first])
        second = holding[first:]
        if len(best.rows) >= limit:
            scores = self._score(best.rows[: 2 * max(limit, REACH_RANK)]).high
            place = min(max(limit, REACH_RANK), len(scores)) - 1
            within = self._can_hold(second, gaps[second], float(np.partition(scores, place)[place]))
            away = self._distance(ranked[0])
            if away > self._calibration.usual > 0:  # rows near the query's side of a partition
                within |= np.isin(second, self._nearest())
            second = second[within]
        return self._merged(best, self._scan(second)) if len(second) else best

    def _rank(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """How far all partitions are, as squared distances to their origins; and their numbers, the most promising
        first."""
        codes, point = self._reader.codes, self._point
        if codes.partitioner is None:
            return squared_distances(point, codes.origins), np.zeros(1, np.int64)
        ranks = codes.partitioner.rank(point)
        gaps = ranks if codes.partitioner.ranks_by_distance else squared_distances(point, codes.origins)
        return gaps, ranks.argsort()

    def _can_hold(
        self, partitions: NDArray[np.int64], gaps: NDArray[np.float32], score: float
    ) -> NDArray[np.bool_]:
        """Which partitions, so far away, may hold a row with a smaller score than this (ann/calibration.py)."""
        square = max(2 * score if self._target.metric is DistanceMetric.COSINE else score, 0.0)
        radii = self._reader.codes.radii[partitions]
        reach = 2 * self._calibration.reach_for(self._target.recall) * square**0.5
        fits: NDArray[np.bool_] = gaps <= square + np.square(radii) + reach * radii
        return fits
