"""The pace of a store: how long a request takes, and how fast bytes come, over one connection and over several."""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import TYPE_CHECKING

from quiver.storage.cache.counts import PaceFigures
from quiver.storage.cache.view import BLOCK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quiver.objectstore.store import Buffer

LONGEST = 64
"""Blocks of a request: more go faster over several connections."""

LINE = 10
"""Times the rate of a connection: what several at once are sure of."""

SMALL = 2 * BLOCK
"""Bytes of a request that says how long one takes, whatever its size."""

_SECONDS, _RATE, _TOTAL = 0.03, 85e6, 1e9  # before anything is measured
_WIDEST_GAP = 16  # blocks that are fetched along to save a request
_MOST_ALONG = 1024  # blocks that are fetched along in a wave to keep to its requests
_ALONG_SECONDS = 0.1  # that they may take to come
_WIDTH = 32  # requests in flight at most
_TELLING = 16 * BLOCK  # bytes in flight from which on their time says something about the line
_ALONE = 2.5  # requests in flight, on average, up to which the line has room for each
_SHARED = 1.5  # requests in flight, on average, from which on they may be in each other's way
_FREE = 0.6 * 85e6  # bytes per second from which on a request gets what a connection gives: none is in its way
_SHARPEST = 1 / 8  # of a request's latency: transfers are not told apart from latency below
_REMEMBERED = 15  # measurements: half of them have to be wrong before the median is


class _Median:
    """Of the last measurements, and of one that was assumed before any was made."""

    def __init__(self, assumed: float) -> None:
        self._values = deque([assumed], _REMEMBERED)

    def add(self, value: float) -> float:
        """Take a measurement in; the median."""
        self._values.append(value)
        return median(self._values)


class Pace:
    """Learns from the requests made so far; each figure is the median of the last fifteen measurements, so that no
    single one moves it far.

    It begins with what large public stores do: 30 ms, 85 MB/s a connection, 1 GB/s over all of them.

    Attributes:
        seconds: of a request of next to no bytes.
        rate: bytes per second that a request gets, among as many as there usually are.
        alone: the same of one with next to no others in flight.
        total: bytes per second of all that are in flight together. Requests that are in nobody's way only tell
            that it is no less than what they get.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """A pace by a clock that tells seconds."""
        self.seconds, self.rate, self.alone, self.total = _SECONDS, _RATE, _RATE, _TOTAL
        self._medians = [_Median(each) for each in (self.seconds, self.rate, self.alone, self.total)]
        self._clock = clock
        self._flying = 0
        self._changed = 0.0
        self._flown = 0.0  # the sum of the times that requests were in flight

    @property
    def gap(self) -> int:
        """Blocks that take less time to fetch along than a request of their own."""
        return min(_WIDEST_GAP, int(self.seconds * self.rate / BLOCK))

    @property
    def narrow_gap(self) -> int:
        """The same where bytes are dearer than rounds: what each of all requests in flight may fetch along without
        making the round longer than by another."""
        return min(self.gap, int(self.seconds * self.total / _WIDTH / BLOCK))

    @property
    def along(self) -> int:
        """Blocks that may be fetched along to keep to a number of requests."""
        return min(_MOST_ALONG, int(_ALONG_SECONDS * LINE * self.rate / BLOCK))

    @property
    def few_along(self) -> int:
        """The same where bytes are dearer than rounds: what comes in half the time of one."""
        return min(self.along, int(self.seconds * self.total / 2 / BLOCK))

    def bandwidth(self, requests: int) -> float:
        """Bytes per second of so many requests in flight together."""
        return min(requests * self.alone, self.total)

    @property
    def measured(self) -> PaceFigures:
        """What was measured, as far as it is not what was assumed."""
        known = zip((self.seconds, self.rate, self.total), (_SECONDS, _RATE, _TOTAL), strict=True)
        return PaceFigures(*(None if now == assumed else now for now, assumed in known))

    async def whole(self, request: Awaitable[Buffer]) -> Buffer:
        """The answer to a request for a whole object; learn from a small one. Raises what the request raises."""
        began = self._clock()
        answer = await request
        nbytes = memoryview(answer).nbytes
        if nbytes <= SMALL:
            self.note(self._clock() - began, nbytes)
        return answer

    async def timed(self, request: Awaitable[Buffer], nbytes: int) -> Buffer:
        """The answer to a request for at most so many bytes; learn from it. Raises what the request raises."""
        large = nbytes > SMALL
        began, before = self._fly(large)
        try:
            answer = await request
        finally:
            ended, after = self._fly(-large)
        seconds = ended - began
        self.note(seconds, len(answer), (after - before) / seconds if seconds > 0 else 1.0)
        return answer

    def _fly(self, more: int) -> tuple[float, float]:
        """Have so many more requests in flight; the time, and for how long all there were have been, together."""
        now = self._clock()
        self._flown += self._flying * (now - self._changed)
        self._changed = now
        self._flying += more
        return now, self._flown

    def note(self, seconds: float, nbytes: int, abreast: float = 1.0) -> None:
        """Learn from a request that took so long, with so many in flight on average, itself included."""
        latency, rate, alone, total = self._medians
        if nbytes <= SMALL:
            self.seconds = latency.add(seconds)
            return
        got = nbytes / max(seconds - self.seconds, self.seconds * _SHARPEST, 1e-9)
        self.rate = rate.add(got)
        if abreast <= _ALONE:
            self.alone = alone.add(got)
        if abreast >= _SHARED and abreast * nbytes >= _TELLING:
            together = abreast * got
            self.total = total.add(together if got < _FREE else max(together, self.total))
