"""Requests to the benchmarks' object store, and what they come to: counts, bytes, dollars, rounds."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from quiver.prices import StorePrices


class Latency(NamedTuple):
    """What the store simulates: seconds to the first byte (log-normal), and bytes a second of each connection and
    of the line that all share.

    Without values nothing is simulated; with `p99` equal to `median` all requests take the same.
    """

    median: float = 0.0
    p99: float = 0.0
    rate: float = 0.0
    seed: int = 0
    line: float = 0.0


NONE = Latency()
CLOUD = Latency(0.030, 0.100, 85e6)
"""Like a large public store."""
FIXED = Latency(0.050, 0.050)
"""The same for each request."""


class Record(NamedTuple):
    """One request, with bytes received and sent by the store.

    Attributes:
        client: the access key id.
        kind: GET, HEAD, PUT, LIST or DELETE, as stores bill them.
        start: when the store had read the request's head, by CLOCK_MONOTONIC, which all processes share.
        end: when the store handed over the last byte of its answer.
        late: seconds that this was later than the simulation wanted.
    """

    client: str
    kind: str
    key: str
    status: int
    received: int
    sent: int
    start: float
    end: float
    late: float


class Asked(NamedTuple):
    """How many requests of each kind, and bytes from the clients' side; `quiver.prices` takes it."""

    puts: float
    gets: float
    lists: float
    deletes: float
    sent: float
    received: float
    table_writes: float = 0.0
    table_reads: float = 0.0

    @property
    def requests(self) -> float:
        """All of them."""
        return self.puts + self.gets + self.lists + self.deletes


def between(records: Iterable[Record], start: float, end: float, client: str | None = None) -> list[Record]:
    """Those that a client began in a stretch of time."""
    return [r for r in records if start <= r.start <= end and client in (None, r.client)]


def asked(records: Iterable[Record]) -> Asked:
    """Counts of all."""
    records = list(records)
    kinds = Counter(record.kind for record in records)
    return Asked(
        kinds["PUT"],
        kinds["GET"] + kinds["HEAD"],
        kinds["LIST"],
        kinds["DELETE"],
        sum(record.received for record in records),
        sum(record.sent for record in records),
    )


def dollars(prices: StorePrices, records: Iterable[Record]) -> float:
    """What they would cost."""
    return prices.dollars(asked(records))


def rounds(records: Sequence[Record]) -> int:
    """The most requests each of which began after the one before it had been answered.

    That is how often somebody may have waited for an answer before asking on. A request that only waited for
    a free connection counts too, as it does for whoever waits for its answer; and so does one that began late
    because something was computed first, while the answer to another came that nobody waited for. So count them
    where requests take much longer than what is computed between them.
    """
    number, free = 0, float("-inf")
    for record in sorted(records, key=lambda r: r.end):
        if record.start >= free:
            number, free = number + 1, record.end
    return number
