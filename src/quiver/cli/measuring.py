"""What operations on an index ask of the object store, measured by doing them."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import orjson

from quiver.cli.estimate import Facts, Usage
from quiver.cli.opening import opened, opened_as
from quiver.engine.engine import Query
from quiver.engine.native.settings import NativeSettings
from quiver.model.errors import ValidationError
from quiver.objectstore.metered_store import metered
from quiver.settings import Settings

if TYPE_CHECKING:
    from quiver.assemble import OpenRoot
    from quiver.engine.engine import Row
    from quiver.service.catalog_state import Index

_SAMPLE = 200  # rows whose sizes stand for all
_QUERIES = 5
_ROUNDS, _ENTRIES = 16, 4  # of upkeep; with the usual four segments to a merge, merges of merges are among them
_AMPLIFICATION = 3.0  # until an index has figures of its own


class QueryUsage(NamedTuple):
    """What a query asks on a node that has nothing of the index, and on one that has answered it before."""

    cold: Usage
    warm: Usage


async def read_facts(root: str, bucket: str, name: str) -> tuple[Facts, list[Row]]:
    """An index's sizes, and some of its rows. Raises NotFoundError, ValidationError: it is empty."""
    async with opened(root) as open_root:
        stored = await open_root.administration.index(bucket, name)
        summary = await open_root.engine.inspect(stored.index_id)
        index = await open_root.engine.open(stored.index_id, stored.spec)
        rows = (await index.list(limit=_SAMPLE, max_bytes=64 << 20, vectors=True, metadata=True)).rows
        if not rows:
            raise ValidationError(f"the index {bucket}/{name} is empty: there is nothing to measure")
        hits = await index.query(Query(np.asarray(rows[0].vector, np.float32), 1))
        vectors = sum(work.matches for work in hits.work)
    return _facts(stored, rows, summary.nbytes, vectors, summary.written, summary.accepted), rows


def _facts(stored: Index, rows: list[Row], nbytes: int, vectors: int, written: int, accepted: int) -> Facts:
    return Facts(
        stored=nbytes,
        vectors=vectors,
        vector_bytes=4.0 * stored.spec.dimension,
        key_bytes=sum(len(row.key.encode()) for row in rows) / len(rows),
        metadata_bytes=sum(len(row.metadata or b"") for row in rows) / len(rows),
        filterable_bytes=sum(_filterable(row, stored.spec.non_filterable) for row in rows) / len(rows),
        amplification=max(1.0, written / accepted) if accepted else _AMPLIFICATION,
    )


def _filterable(row: Row, non_filterable: tuple[str, ...]) -> int:
    document = orjson.loads(row.metadata or b"{}")
    return len(orjson.dumps({key: value for key, value in document.items() if key not in non_filterable}))


async def measure_queries(root: str, bucket: str, name: str, rows: list[Row], top_k: int) -> QueryUsage:
    """Ask with some of the index's rows, each on a node of its own, then once more."""
    asked = rows[:: max(1, len(rows) // _QUERIES)][:_QUERIES]
    cold = warm = Usage()
    for row in asked:
        query = Query(np.asarray(row.vector, np.float32), top_k, metadata=True)
        async with opened(root) as open_root:
            stored = await open_root.administration.index(bucket, name)
            with metered() as first:
                index = await open_root.engine.open(stored.index_id, stored.spec)
                await index.query(query)
            with metered() as second:
                await index.query(query)
        cold, warm = cold.plus(Usage.of(first, len(asked))), warm.plus(Usage.of(second, len(asked)))
    return QueryUsage(cold, warm)


async def measure_writes() -> tuple[Usage, Usage]:
    """What a PutVectors request asks, and what a flush with its share of merges asks beside reading the log.

    Neither depends on how large vectors are, so small ones are put into a store of their own.
    """
    with tempfile.TemporaryDirectory(prefix="quiver-cost-") as directory:
        async with opened_as(Settings(root=directory), create=True) as writer:
            await writer.call("CreateVectorBucket", {"vectorBucketName": "scratch"})
            names = {"vectorBucketName": "scratch", "indexName": "scratch"}
            shape = {"dataType": "float32", "dimension": 2, "distanceMetric": "euclidean"}
            await writer.call("CreateIndex", names | shape)
            await _put(writer, names)
            await _tend(directory)
            await _put(writer, names)  # as always after the first checkpoint, which replaces listings by gets
            put = (await _put(writer, names)).times(1 / _ENTRIES)
            upkeep = Usage()
            for _ in range(_ROUNDS):
                upkeep = upkeep.plus(await _tend(directory))
                after = await _put(writer, names)  # upkeep makes a writer look at the new checkpoint
                upkeep = upkeep.plus(after).plus(put.times(-_ENTRIES))
    return put, upkeep.times(1 / _ROUNDS)


async def _put(writer: OpenRoot, names: dict[str, str]) -> Usage:
    """Some requests, one by one."""
    with metered() as spent:
        for number in range(_ENTRIES):
            vector = {"key": f"k{number}", "data": {"float32": [1.0, 2.0]}}
            await writer.call("PutVectors", {**names, "vectors": [vector]})
    return Usage.of(spent)


async def _tend(directory: str) -> Usage:
    """Flush and merge as a maintenance process does, which has never seen the index."""
    async with opened_as(Settings(root=directory)) as tender:
        (stored,) = await tender.administration.indexes()
        with metered() as spent:
            index = await tender.engine.open(stored.index_id, stored.spec)
            await index.maintenance.flush()
            await index.maintenance.tidy()
    used = Usage.of(spent)
    return used.plus(Usage(gets=-_ENTRIES))  # the log's entries are counted apart


def entries_between_flushes(flush_rows: int, batch: int, row_bytes: float) -> float:
    """How many requests of `batch` vectors fill a tail, so that it is flushed."""
    limits = NativeSettings()
    rows, nbytes = flush_rows / batch, limits.flush_bytes / max(1.0, batch * row_bytes)
    return max(1.0, min(rows, nbytes, limits.flush_slots))
