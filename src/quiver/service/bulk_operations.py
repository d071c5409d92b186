"""Rows in bulk, in and out: what loading and export mean, whoever reads and writes the rows.

A load is all or nothing: rows are judged as they come, and nothing is visible before the last one. A small load is
one entry of the log, as a PutVectors is, so that many of them do not make many segments; a larger one goes into
segments directly.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from quiver.model.types import VectorBatch
from quiver.service.bulk_rows import check_rows
from quiver.service.context import Response
from quiver.service.names import resolve_index
from quiver.service.permissions import LOAD
from quiver.service.vector_rules import without_overwritten

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from quiver.engine.engine import Index as OpenIndex
    from quiver.model.progress import Progress
    from quiver.model.types import IndexSpec
    from quiver.service.authorization import Authorizer
    from quiver.service.bulk_rows import Source
    from quiver.service.caller import Caller
    from quiver.service.catalog_state import Index
    from quiver.service.context import Context

BATCH_BYTES = 8 << 20
"""Vectors read and judged at a time."""
MAX_BATCH_ROWS = 8192
"""Rows read at a time, however few components they have: their metadata take memory too."""
SMALL_ROWS = 10_000
SMALL_BYTES = 16 << 20
"""A load of at most so many rows, and bytes of keys, vectors and metadata, is one entry of the log."""


class Sink(Protocol):
    """Where exported rows go. Every method takes time; after an OSError or at any other end, `discard` follows."""

    def write(self, batch: VectorBatch, /) -> None:
        """Append rows."""
        ...

    def finish(self) -> None:
        """Make everything written final."""
        ...

    def discard(self) -> None:
        """Forget what was written, unless it is final."""
        ...


class BulkOperations:
    """Loading and export. `params` name the index as those of every operation do."""

    def __init__(self, context: Context, authorizer: Authorizer) -> None:
        self._context = context
        self._authorizer = authorizer

    async def check_loading(self, params: dict[str, Any], caller: Caller | None = None) -> None:
        """Return when `load` may begin.

        Raises: AccessDeniedError where the process does not load, or the caller may not; what the names of an
        index can raise; StoreUnavailableError.
        """
        self._context.role.check(write=True)
        await self._authorizer.check(LOAD, params, caller)

    async def load(
        self, params: dict[str, Any], source: Source, progress: Progress, caller: Caller | None = None
    ) -> Response:
        """Insert or replace every row of a source; body `rows`: how many distinct keys.

        Of several rows with one key the last one counts. Stages reported: "read", then those of the engine.
        Raises: ValidationError, SerializationError, NotFoundError, BusyError, UnavailableError, DataError; no row
        is visible then. AccessDeniedError where the process only reads, or the caller may not load.
        """
        await self.check_loading(params, caller)

        async def load(index: Index) -> Response:
            opened = await self._context.engine.open(index.index_id, index.spec)
            async with aclosing(self._checked(source, index.spec, progress)) as batches:
                return await _load(opened, batches, progress)

        return await self._context.on_index_now(resolve_index(params, self._context.home), load)

    async def scan(self, params: dict[str, Any], rows: int) -> AsyncIterator[VectorBatch]:
        """Every row, as of one commit, at most `rows` at a time and in no promised order.

        Raises: NotFoundError, UnavailableError, DataError.
        """
        index = await self._context.catalog.index(resolve_index(params, self._context.home))
        opened = await self._context.engine.open(index.index_id, index.spec)
        async for batch in opened.scan(rows):
            yield batch

    async def export(
        self, params: dict[str, Any], open_sink: Callable[[int], Sink], progress: Progress
    ) -> Response:
        """Write every row, as of one commit, to the sink that `open_sink` makes for a dimension; body `rows`.

        Raises: NotFoundError, UnavailableError, DataError, OSError of the sink; it is discarded then.
        """
        self._context.role.check(write=False)

        async def export(index: Index) -> Response:
            opened = await self._context.engine.open(index.index_id, index.spec)
            sink = await self._context.runtime.offload(open_sink, index.spec.dimension)
            try:
                return Response({"rows": await self._write(opened, sink, progress)})
            finally:
                await self._context.runtime.offload(sink.discard)

        return await self._context.on_index_now(resolve_index(params, self._context.home), export)

    async def _write(self, opened: OpenIndex, sink: Sink, progress: Progress) -> int:
        rows = 0
        async for batch in opened.scan(_batch_rows(opened.spec)):
            await self._context.runtime.offload(sink.write, batch)
            rows += len(batch.keys)
            progress("write", rows, 0)
        await self._context.runtime.offload(sink.finish)
        return rows

    async def _checked(
        self, source: Source, spec: IndexSpec, progress: Progress
    ) -> AsyncGenerator[VectorBatch, None]:
        """The rows of a source, judged part by part; reading and judging take turns with the event loop."""
        unread = source.batches(_batch_rows(spec))

        read = 0

        def advance() -> VectorBatch | None:
            nonlocal read
            batch = next(unread, None)
            if batch is None:
                return None
            read += len(batch.keys)
            return check_rows(batch, spec, self._context.leniency.filterable_bytes)

        while (batch := await self._context.runtime.offload(advance)) is not None:
            progress("read", read, source.rows)
            yield batch


async def _load(opened: OpenIndex, batches: AsyncIterator[VectorBatch], progress: Progress) -> Response:
    """Read as much as makes a small load; then it is known which way to go."""
    head: list[VectorBatch] = []
    rows = nbytes = 0
    async for batch in batches:
        head.append(batch)
        rows += len(batch.keys)
        nbytes += _size(batch)
        if rows > SMALL_ROWS or nbytes > SMALL_BYTES:
            loaded = await opened.load(_chain(head, batches), progress)
            return Response({"rows": loaded.rows}, loaded.commit)
    if not rows:
        return Response({"rows": 0})
    whole = _joined(head)
    return Response({"rows": len(whole.keys)}, await opened.put(whole))


async def _chain(head: list[VectorBatch], rest: AsyncIterator[VectorBatch]) -> AsyncIterator[VectorBatch]:
    while head:
        yield head.pop(0)
    async for batch in rest:
        yield batch


def _joined(batches: list[VectorBatch]) -> VectorBatch:
    """One batch of all rows, without those that a later one overwrites."""
    keys = [key for batch in batches for key in batch.keys]
    metadata = [document for batch in batches for document in batch.metadata]
    vectors = np.concatenate([batch.vectors for batch in batches])
    return without_overwritten(VectorBatch(keys, vectors, metadata))


def _size(batch: VectorBatch) -> int:
    return batch.vectors.nbytes + sum(map(len, batch.keys)) + sum(map(len, batch.metadata))


def _batch_rows(spec: IndexSpec) -> int:
    return min(MAX_BATCH_ROWS, max(1, BATCH_BYTES // (4 * spec.dimension)))
