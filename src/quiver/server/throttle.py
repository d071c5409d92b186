"""Throttling by access key: how many requests and bytes a key may send per second, and all of them together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.model.token_bucket import SeparateBuckets, SharedBucket
from quiver.service.rates import Limit, capacity, check, take

if TYPE_CHECKING:
    from quiver.model.runtime import Runtime
    from quiver.service.rates import Rates


class Throttle:
    """Refuses what comes too fast.

    A request is judged twice. Before its body is read, `foresee` refuses what has no chance, and counts nothing:
    whose request it is has not been proved yet, and nobody may use up what is another's. When it has been, `admit`
    counts it, or refuses it after all.

    Args:
        rates: of this process.
        runtime: the clock.
    """

    def __init__(self, rates: Rates, runtime: Runtime) -> None:
        self._runtime = runtime
        self._requests, self._bytes = _limits(rates, runtime.monotonic())

    def foresee(self, key_id: str, size: int) -> None:
        """Whether a body of `size` bytes could be let in now. Raises: ThrottledError."""
        if demands := [each for each in self._demands(size) if each[0].buckets.knows(key_id)]:
            check(demands, key_id, self._runtime.monotonic())

    def admit(self, key_id: str, size: int) -> None:
        """Count one request with a body of `size` bytes, of a key that was proved. Raises: ThrottledError."""
        if demands := self._demands(size):
            take(demands, key_id, self._runtime.monotonic())

    def _demands(self, size: int) -> list[tuple[Limit, float]]:
        demands = [(limit, 1.0) for limit in self._requests]
        return demands + [(limit, float(size)) for limit in self._bytes if size]


def _limits(rates: Rates, now: float) -> tuple[list[Limit], list[Limit]]:
    """Limits in requests, and limits in bytes."""

    def shared(name: str, what: str, rate: float) -> list[Limit]:
        return [Limit(name, what, SharedBucket(rate, capacity(rate), now))] if rate else []

    def separate(name: str, what: str, rate: float) -> list[Limit]:
        return [Limit(name, what, SeparateBuckets(rate, capacity(rate)))] if rate else []

    return (
        separate("key_requests", "requests per second of this access key", rates.key_requests)
        + shared("requests", "requests per second to this server", rates.requests),
        separate("key_bytes", "bytes per second of this access key", rates.key_bytes)
        + shared("bytes", "bytes per second to this server", rates.bytes),
    )
