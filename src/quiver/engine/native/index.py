"""One index of the native engine: wires the log, the tail, the segments and their maintenance. No logic."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from quiver.engine.engine import (
    STRONG,
    Count,
    Deleted,
    Freshness,
    Hits,
    Index,
    IndexSealedError,
    Listing,
    ListPosition,
    Loaded,
    Lookup,
    Query,
    TextFieldStatus,
)
from quiver.engine.native.burial import bury
from quiver.engine.native.conditional import Basis, Change, write_if_unchanged
from quiver.engine.native.counting import count_rows
from quiver.engine.native.export import batches_of
from quiver.engine.native.listing import list_page
from quiver.engine.native.load import load
from quiver.engine.native.lookup import look_up
from quiver.engine.native.maintenance import Maintenance
from quiver.engine.native.segment_search import expected_rows
from quiver.engine.native.snapshot import SnapshotSource
from quiver.engine.native.state import IndexState
from quiver.engine.native.text_fields import refusal
from quiver.engine.native.text_search import answer, answer_all
from quiver.format import paths, rows, text_change
from quiver.format.log_entry import Part, PartKind
from quiver.model.progress import no_progress
from quiver.storage.commit_log import CommitLog, LogSealedError
from quiver.storage.opening_store import OpeningStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Sequence

    from quiver.engine.engine import Decide, Row
    from quiver.engine.native.segment_pool import SegmentPool
    from quiver.engine.native.settings import NativeSettings
    from quiver.engine.native.snapshot import Snapshot
    from quiver.engine.native.tail import Place
    from quiver.engine.native.workshop import Watcher, Workshop
    from quiver.model.filter import Filter
    from quiver.model.progress import Progress
    from quiver.model.runtime import Runtime
    from quiver.model.types import IndexSpec, TextField, VectorBatch
    from quiver.objectstore.store import ObjectStore
    from quiver.storage.group_commit import Commit, Condition

_INLINE_TEXTS = 32  # rows
_INLINE_WORK = 1 << 21  # float operations below this cost less than a change of thread


class NativeIndex(Index):
    """See Index. Attributes beyond the contract are for flush, compaction and inspection."""

    def __init__(
        self,
        store: ObjectStore,
        runtime: Runtime,
        pool: SegmentPool,
        index_id: str,
        spec: IndexSpec,
        settings: NativeSettings,
        workshop: Workshop,
        watcher: Watcher,
    ) -> None:
        self.index_id = index_id
        self.spec = spec
        self.store = store
        self.runtime = runtime
        self.settings = settings
        self.root = paths.index_root(index_id)
        self.state = IndexState(spec)
        self.opening = OpeningStore(store, runtime, self.root, index_id, pool.pace)
        self.log = CommitLog(
            store,
            runtime,
            self.root,
            index_id,
            self.state,
            settings.log,
            None if store.near else self.opening,
        )
        self.snapshots = SnapshotSource(
            self.log,
            self.state,
            pool,
            index_id,
            spec,
            runtime,
            ahead=not store.near,
            opening=self.opening,
            staleness=settings.staleness,
            patience=settings.patience,
        )
        self._weighed: tuple[list[str], float] = [], 0  # segments, and how many rows a query of them costs
        self.progress: Progress = watcher.progress
        self.maintenance = Maintenance(self, workshop, watcher)

    @property
    def resident(self) -> int:
        """Bytes of memory that the open index takes, about; its segments are counted by their pool."""
        return (64 << 10) + self.state.tail.resident

    # ---------------------------------------------------------------- writes

    async def put(self, batch: VectorBatch) -> int:
        return (await self.append(PartKind.PUT, rows.encode_put(batch))).slot

    async def delete(self, keys: Sequence[str]) -> int:
        return (await self.append(PartKind.DELETE, rows.encode_delete(keys))).slot

    async def amend(
        self, keys: Sequence[str], decide: Decide, *, vectors: bool = False, metadata: bool = False
    ) -> int:
        def work(snapshot: Snapshot, in_tail: dict[str, Place | None]) -> Basis[Sequence[Row]]:
            found = look_up(snapshot, in_tail, dict.fromkeys(keys), vectors=vectors, metadata=metadata)
            return Basis(found.rows, snapshot.tail)

        async def read() -> Basis[Sequence[Row]]:
            return await self.snapshots.read(work, lambda: self.state.tail.newest(keys))

        return (await write_if_unchanged(self, read, lambda found: Change(put=decide(found))))[1]

    async def delete_matching(
        self, condition: Filter, *, limit: int, after: ListPosition | None = None
    ) -> Deleted:
        def work(snapshot: Snapshot, _: None) -> Basis[Listing]:
            page = list_page(
                snapshot,
                limit=limit,
                max_bytes=sys.maxsize,
                after=after,
                condition=condition,
                non_filterable=self.spec.non_filterable,
            )
            return Basis(page, snapshot.tail)

        async def read() -> Basis[Listing]:
            return await self.snapshots.read(work, _nothing, self.runtime.offload)

        def decide(page: Listing) -> Change:
            return Change(delete=[row.key for row in page.rows])

        page, commit = await write_if_unchanged(self, read, decide)
        return Deleted(len(page.rows), page.position, commit)

    async def configure_texts(self, add: Sequence[TextField] = (), delete: Sequence[str] = ()) -> int:
        commit = await self.append(PartKind.CONFIGURE, text_change.encode(add, delete))
        if commit.result:
            raise refusal(*commit.result)
        if add:
            self.maintenance.backfill()
        return commit.slot

    async def seal(self) -> None:
        """Append the last entry; its checkpoint names no segment, so that garbage collection takes them all."""
        await self.log.refresh()
        if not self.log.sealed:
            with suppress(IndexSealedError):  # another was quicker
                await self.append(PartKind.SEAL, b"", check=False)
        await bury(self.store, self.runtime, self.index_id)

    async def append(
        self, kind: PartKind, body: memoryview | bytes, *, check: bool = True, condition: Condition | None = None
    ) -> Commit:
        """Append a part. Raises as `put`, and ConditionFailedError (see CommitLog.append)."""
        if check:
            self.maintenance.admit()
        try:
            commit = await self.log.append(Part(kind, body), condition)
        except LogSealedError:
            raise IndexSealedError from None
        self.maintenance.after_commit()
        return commit

    # ---------------------------------------------------------------- reads

    async def get(
        self, keys: Sequence[str], *, vectors: bool, metadata: bool, freshness: Freshness = STRONG
    ) -> Lookup:
        def work(snapshot: Snapshot, in_tail: dict[str, Place | None]) -> Lookup:
            return look_up(snapshot, in_tail, dict.fromkeys(keys), vectors=vectors, metadata=metadata)

        return await self.snapshots.read(work, lambda: self.state.tail.newest(keys), freshness=freshness)

    async def list(
        self,
        *,
        limit: int,
        max_bytes: int,
        after: ListPosition | None = None,
        segment: int = 0,
        segment_count: int = 1,
        vectors: bool = False,
        metadata: bool = False,
        condition: Filter | None = None,
        freshness: Freshness = STRONG,
    ) -> Listing:
        def work(snapshot: Snapshot, _: None) -> Listing:
            return list_page(
                snapshot,
                limit=limit,
                max_bytes=max_bytes,
                after=after,
                segment=segment,
                segment_count=segment_count,
                vectors=vectors,
                metadata=metadata,
                condition=condition,
                non_filterable=self.spec.non_filterable,
            )

        return await self.snapshots.read(work, _nothing, self.runtime.offload, freshness=freshness)

    async def count(self, condition: Filter | None = None, freshness: Freshness = STRONG) -> Count:
        def work(snapshot: Snapshot, _: None) -> Count:
            return count_rows(snapshot, condition, self.spec.non_filterable)

        return await self.snapshots.read(
            work, _nothing, self.runtime.offload, lambda _: condition is not None, freshness
        )

    async def query(self, query: Query, freshness: Freshness = STRONG) -> Hits:
        def work(snapshot: Snapshot, _: None) -> Hits:
            return answer(snapshot, self.spec, query)

        heavy = _is_heavy_text if query.texts else self._is_heavy
        return await self.snapshots.read(work, _nothing, self.runtime.offload, heavy, freshness)

    async def text_fields(self, freshness: Freshness = STRONG) -> Sequence[TextFieldStatus]:
        state = self.state
        found = await self.snapshots.see(
            lambda: [TextFieldStatus(field, state.is_active(field)) for field in state.texts], freshness
        )
        if not all(status.active for status in found):
            self.maintenance.notice_building()
        return found

    async def query_many(self, queries: Sequence[Query], freshness: Freshness = STRONG) -> Sequence[Hits]:
        def work(snapshot: Snapshot, _: None) -> Sequence[Hits]:
            return answer_all(snapshot, self.spec, queries)

        return await self.snapshots.read(work, _nothing, self.runtime.offload, freshness=freshness)

    async def load(self, batches: AsyncIterable[VectorBatch], progress: Progress = no_progress) -> Loaded:
        try:
            return await load(self, batches, progress)
        except LogSealedError:
            raise IndexSealedError from None

    async def scan(self, rows: int = 4096) -> AsyncIterator[VectorBatch]:
        snapshot = await self.snapshots.take_whole()
        with self.snapshots.forgetting_damage():
            for read in batches_of(snapshot, self.spec.dimension, rows):
                yield await self.runtime.offload(read)

    def _is_heavy(self, snapshot: Snapshot) -> bool:
        """Whether a query without a filter takes so many float operations that it should not hold up the loop."""
        names = [segment.reader.segment for segment in snapshot.segments]
        if names != self._weighed[0]:
            rows = sum(expected_rows(segment.reader, self.spec.recall) for segment in snapshot.segments)
            self._weighed = names, rows
        return (self._weighed[1] + snapshot.tail.rows) * self.spec.dimension >= _INLINE_WORK


def _is_heavy_text(snapshot: Snapshot) -> bool:
    """The same for a query with texts, by the rows that there are."""
    return snapshot.tail.rows + sum(segment.reader.rows for segment in snapshot.segments) >= _INLINE_TEXTS


def _nothing() -> None:
    """A query needs to know no more of the state than its snapshot tells."""
