"""Token buckets: how much may be taken per second, by each taker for itself or by all of them together, fairly.

They know the time only from what they are told, in seconds of a clock that never goes back. A cost larger than
a bucket may be taken when the bucket is full, and leaves a debt; so every cost is possible, and the rate holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

IDLE_SECONDS = 10.0
"""After so long without a request a taker's share of a SharedBucket goes to the others, unless it is in debt."""
FEW = 1024
"""Up to so many buckets are kept without a look at which are full again."""


@dataclass(slots=True)
class TokenBucket:
    """A bucket.

    Attributes:
        rate: tokens per second that come in.
        capacity: the most it holds.
        tokens: what it holds as of `time`; negative after a cost larger than what was there.
        time: when it was looked at last.
    """

    rate: float
    capacity: float
    tokens: float
    time: float

    def wait(self, cost: float, now: float) -> float:
        """Seconds until `cost` can be taken; 0 if it can be now."""
        self.refill(now)
        return max(0.0, (min(cost, self.capacity) - self.tokens) / self.rate)

    def take(self, cost: float, now: float) -> None:
        """Take it, after `wait` said that it is there."""
        self.refill(now)
        self.tokens -= cost

    def refill(self, now: float) -> float:
        """Bring it up to date; returns what came in and found no room."""
        brought = self.tokens + max(0.0, now - self.time) * self.rate
        self.time = max(now, self.time)
        self.tokens = min(self.capacity, brought)
        return brought - self.tokens


class Buckets(Protocol):
    """What several takers take from, known by name."""

    def knows(self, taker: str) -> bool:
        """Whether anything is kept about a taker."""
        ...

    def wait(self, taker: str, cost: float, now: float) -> float:
        """Seconds until a taker can have `cost`; 0 if it can now. Makes the taker known."""
        ...

    def take(self, taker: str, cost: float, now: float) -> None:
        """Take it, after `wait` said that it is there."""
        ...


class SeparateBuckets(Buckets):
    """A bucket for each taker, full at the beginning; forgotten when it is full again and there are many.

    Args:
        rate: tokens per second of each.
        capacity: the most that each holds.
    """

    def __init__(self, rate: float, capacity: float) -> None:
        self._rate, self._capacity = rate, capacity
        self._buckets: dict[str, TokenBucket] = {}
        self._many = FEW

    def __len__(self) -> int:
        return len(self._buckets)

    def knows(self, taker: str) -> bool:
        return taker in self._buckets

    def wait(self, taker: str, cost: float, now: float) -> float:
        bucket = self._buckets.get(taker)
        if bucket is None:
            self._forget(now)
            bucket = self._buckets[taker] = TokenBucket(self._rate, self._capacity, self._capacity, now)
        return bucket.wait(cost, now)

    def take(self, taker: str, cost: float, now: float) -> None:
        self._buckets[taker].take(cost, now)

    def _forget(self, now: float) -> None:
        """A full bucket is as good as none."""
        if len(self._buckets) < self._many:
            return
        self._buckets = {name: b for name, b in self._buckets.items() if b.wait(self._capacity, now) > 0}
        self._many = max(FEW, 2 * len(self._buckets))


class SharedBucket(Buckets):
    """One bucket, full at the beginning, of which each taker has an equal share; what it leaves is for all.

    Every active taker has a bucket of its own with its share of the rate and of the capacity. What finds no room
    there goes into a spare bucket, from which everybody may take. So nobody can be kept below its share, and who
    is alone gets everything. Together they never hold more than the capacity.

    Args:
        rate: tokens per second, of all takers together.
        capacity: the most that is held for all of them together.
        now: the time.
    """

    def __init__(self, rate: float, capacity: float, now: float) -> None:
        self._rate, self._capacity = rate, capacity
        self._spare = capacity
        self._time = now
        self._own: dict[str, TokenBucket] = {}
        self._asked: dict[str, float] = {}

    def knows(self, taker: str) -> bool:
        return taker in self._own

    def wait(self, taker: str, cost: float, now: float) -> float:
        self._refill(now)
        if taker not in self._own:
            self._own[taker] = TokenBucket(self._rate, self._capacity, 0.0, self._time)
            self._divide()
        self._asked[taker] = self._time
        own = self._own[taker]
        return max(0.0, (min(cost, own.capacity) - own.tokens - self._spare) / own.rate)

    def take(self, taker: str, cost: float, now: float) -> None:
        self._refill(now)
        own = self._own[taker]
        from_spare = min(max(0.0, cost - max(0.0, own.tokens)), self._spare)
        self._spare -= from_spare
        own.tokens -= cost - from_spare

    def _refill(self, now: float) -> None:
        now = max(now, self._time)
        over = sum(own.refill(now) for own in self._own.values())
        if not self._own:
            over = (now - self._time) * self._rate
        self._time = now
        self._add_spare(over)
        idle = [taker for taker, asked in self._asked.items() if now - asked > IDLE_SECONDS]
        for taker in idle:
            if self._own[taker].tokens >= 0:
                del self._asked[taker]
                left = self._own.pop(taker).tokens
                self._divide()
                self._add_spare(left)

    def _divide(self) -> None:
        """Give every taker an equal share; what no longer fits into its own bucket becomes spare."""
        over = 0.0
        for own in self._own.values():
            own.rate, own.capacity = self._rate / len(self._own), self._capacity / len(self._own)
            over += max(0.0, own.tokens - own.capacity)
            own.tokens = min(own.tokens, own.capacity)
        self._add_spare(over)

    def _add_spare(self, tokens: float) -> None:
        held = sum(max(0.0, own.tokens) for own in self._own.values())
        self._spare = max(0.0, min(self._spare + tokens, self._capacity - held))
