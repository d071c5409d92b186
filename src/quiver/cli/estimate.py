"""The monthly bill of an index for a workload: arithmetic on what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from quiver.prices import GB, MILLION

if TYPE_CHECKING:
    from quiver.prices import Asked, StorePrices, VectorsPrices


class Usage(msgspec.Struct, frozen=True):
    """Requests to the store and bytes to and from it, on average, or in a month."""

    puts: float = 0.0
    gets: float = 0.0
    lists: float = 0.0
    deletes: float = 0.0
    sent: float = 0.0
    received: float = 0.0
    table_writes: float = 0.0
    table_reads: float = 0.0

    @classmethod
    def of(cls, asked: Asked, pieces: int = 1) -> Usage:
        """What each of so many pieces of work used."""
        whole = cls(*(getattr(asked, name) for name in cls.__struct_fields__))
        return whole.times(1 / pieces)

    def times(self, factor: float) -> Usage:
        """So many times."""
        return Usage(*(factor * value for value in msgspec.structs.astuple(self)))

    def plus(self, other: Usage) -> Usage:
        """Both."""
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        return Usage(*(mine + theirs for mine, theirs in pairs))


class Workload(msgspec.Struct, frozen=True):
    """What is asked of an index in a month.

    Attributes:
        queries: how many, each for `top_k` neighbours.
        cold_share: of the queries, by nodes that have nothing of the index in their caches.
        writes: vectors put, in requests of `batch`.
    """

    queries: float
    cold_share: float
    top_k: int
    writes: float
    batch: int


class Facts(msgspec.Struct, frozen=True):
    """What an index is.

    Attributes:
        stored: bytes of all its objects.
        vectors: that are alive.
        vector_bytes, key_bytes, metadata_bytes, filterable_bytes: of one of them, on average.
        amplification: bytes written for each byte accepted, by the log and by upkeep.
    """

    stored: int
    vectors: int
    vector_bytes: float
    key_bytes: float
    metadata_bytes: float
    filterable_bytes: float
    amplification: float

    @property
    def row_bytes(self) -> float:
        """Of a vector with key and metadata."""
        return self.vector_bytes + self.key_bytes + self.metadata_bytes


class Operations(msgspec.Struct, frozen=True):
    """What each operation uses.

    Attributes:
        cold_query, warm_query: on a node that has nothing of the index, and on one that has just answered it.
        put: of one request.
        upkeep: of one flush with the merges that follow from it, the log entries read for it apart.
        entries: log entries between two flushes.
    """

    cold_query: Usage
    warm_query: Usage
    put: Usage
    upkeep: Usage
    entries: float


class Line(NamedTuple):
    """One line of a bill."""

    what: str
    amount: float
    unit: str
    usd: float


def monthly_usage(facts: Facts, workload: Workload, operations: Operations) -> Usage:
    """All requests and bytes of a month."""
    cold = operations.cold_query.times(workload.queries * workload.cold_share)
    warm = operations.warm_query.times(workload.queries * (1 - workload.cold_share))
    requests = workload.writes / workload.batch
    accepted = workload.writes * facts.row_bytes
    put = operations.put.times(requests)
    upkeep = operations.upkeep.times(requests / operations.entries)
    requested = put.plus(upkeep).plus(Usage(gets=requests))  # upkeep reads every log entry once
    # What was put to measure has other sizes: bytes follow from those of the index. Upkeep reads what it rewrites.
    nbytes = facts.amplification * accepted
    writes = msgspec.structs.replace(requested, sent=nbytes, received=nbytes)
    return cold.plus(warm).plus(writes)


def store_bill(facts: Facts, usage: Usage, prices: StorePrices) -> list[Line]:
    """What the object store charges; the last line is the sum."""
    lines = [
        Line("storage", facts.stored / GB, "GB", facts.stored / GB * prices.storage_gb_month),
        Line("PUT", usage.puts, "requests", prices.dollars(Usage(puts=usage.puts))),
        Line("LIST", usage.lists, "requests", prices.dollars(Usage(lists=usage.lists))),
        Line("GET", usage.gets, "requests", prices.dollars(Usage(gets=usage.gets))),
        Line("DELETE", usage.deletes, "requests", prices.dollars(Usage(deletes=usage.deletes))),
        Line("bytes in", usage.sent / GB, "GB", prices.dollars(Usage(sent=usage.sent))),
        Line("bytes out", usage.received / GB, "GB", prices.dollars(Usage(received=usage.received))),
    ]
    return [*lines, _total(lines)]


def vectors_bill(facts: Facts, workload: Workload, prices: VectorsPrices) -> list[Line]:
    """What the managed service would charge for the same; the last line is the sum."""
    stored = facts.vectors * facts.row_bytes
    put = workload.writes / workload.batch * max(workload.batch * facts.row_bytes, prices.put_least_bytes)
    pages = workload.queries * -(-workload.top_k // prices.query_page)
    passed = facts.vector_bytes + facts.key_bytes + facts.filterable_bytes
    found = min(workload.top_k, facts.vectors) * (facts.key_bytes + facts.metadata_bytes)
    returned = workload.queries * max(0.0, found - prices.returned_free_bytes)
    processing = workload.queries * prices.processing(facts.vectors, passed)
    lines = [
        Line("storage", stored / GB, "GB", stored / GB * prices.storage_gb_month),
        Line("PUT", put / GB, "GB", put / GB * prices.put_gb),
        Line("queries", pages, "requests", pages / MILLION * prices.query_million),
        Line("processed", workload.queries * facts.vectors * passed / GB, "GB", processing),
        Line("returned", returned / GB, "GB", returned / GB * prices.returned_gb),
    ]
    return [*lines, _total(lines)]


def _total(lines: list[Line]) -> Line:
    return Line("total", 0.0, "", sum(line.usd for line in lines))
