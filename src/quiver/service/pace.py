"""The pace of an index: how many requests it takes per second, and how many vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.model.token_bucket import SeparateBuckets
from quiver.service.rates import Limit, capacity, take

if TYPE_CHECKING:
    from quiver.model.runtime import Runtime
    from quiver.service.rates import Rates


class Pace:
    """Refuses what comes to an index too fast. Ask it once it is known that the caller may use the index.

    Args:
        rates: of this process.
        runtime: the clock.
    """

    def __init__(self, rates: Rates, runtime: Runtime) -> None:
        self._runtime = runtime
        self._writes = _limit("index_writes", "writes per second to this index", rates.index_writes)
        self._vectors = _limit("index_vectors", "vectors written per second to this index", rates.index_vectors)
        self._reads = _limit("index_reads", "reads per second of this index", rates.index_reads)

    def write(self, index_id: str, vectors: int) -> None:
        """Count one request that writes or deletes so many vectors. Raises: ThrottledError."""
        self._take(index_id, (self._writes, 1), (self._vectors, vectors))

    def read(self, index_id: str) -> None:
        """Count one request that reads vectors. Raises: ThrottledError."""
        if self._reads is not None:
            self._take(index_id, (self._reads, 1))

    def _take(self, index_id: str, *demands: tuple[Limit | None, int]) -> None:
        if in_force := [(limit, cost) for limit, cost in demands if limit is not None]:
            take(in_force, index_id, self._runtime.monotonic())


def _limit(name: str, what: str, rate: float) -> Limit | None:
    return Limit(name, what, SeparateBuckets(rate, capacity(rate))) if rate else None
