"""What an operator does with a root: inspect, check, compact, collect garbage, take snapshots, clone."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from quiver.engine.upkeep import Collected, Finding
from quiver.format import paths
from quiver.model.errors import ConflictError, DataError, NotFoundError
from quiver.model.filter_parser import parse_filter
from quiver.model.progress import no_progress
from quiver.objectstore.encryption.provider import KmsError
from quiver.service.catalog import CatalogMachine
from quiver.service.catalog_commands import AbandonIndex
from quiver.service.snapshot_operations import SnapshotOperations
from quiver.storage.checkpoint_store import CheckpointStore
from quiver.storage.garbage import collect
from quiver.storage.log_audit import audit_log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from quiver.engine.upkeep import IndexSummary, RecallReport, Upkeep, Warmed
    from quiver.model.progress import Progress
    from quiver.model.runtime import Runtime
    from quiver.model.types import Float32Matrix
    from quiver.objectstore.store import ObjectStore
    from quiver.service.catalog import Catalog
    from quiver.service.catalog_state import Index
    from quiver.service.encryption import Encryption


class Stored(NamedTuple):
    """An index that has objects in the store; `named` is None when the catalog no longer names it."""

    index_id: str
    named: Index | None

    @property
    def title(self) -> str:
        """What a person calls it."""
        return f"{self.named.bucket}/{self.named.name}" if self.named else f"(deleted) {self.index_id}"


class Administration:
    """Works through all indexes of a root, one at a time, so that progress can be shown.

    Every method raises StoreUnavailableError, and DataError when the catalog itself is damaged.

    Attributes:
        snapshots: snapshots and clones of single indexes.
    """

    def __init__(
        self,
        store: ObjectStore,
        runtime: Runtime,
        catalog: Catalog,
        upkeep: Upkeep,
        encryption: Encryption | None = None,
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._catalog = catalog
        self._upkeep = upkeep
        self.snapshots = SnapshotOperations(catalog, upkeep, runtime, encryption)

    async def indexes(self) -> list[Index]:
        """Every index that the catalog names, by bucket and name."""
        found = await self._catalog.read(lambda state: list(state.indexes()))
        return sorted(found, key=lambda index: (index.bucket, index.name))

    async def stored(self) -> list[Stored]:
        """Every index that the catalog names, then those deleted ones that still have objects."""
        named = await self.indexes()
        known = {index.index_id for index in named}
        listed = {paths.index_of(info.key) for info in await self._store.list(paths.INDEX_ROOT)}
        deleted = sorted(index_id for index_id in listed if index_id is not None and index_id not in known)
        return [Stored(index.index_id, index) for index in named] + [Stored(name, None) for name in deleted]

    async def index(self, bucket: str, name: str) -> Index:
        """One index. Raises NotFoundError."""
        for index in await self.indexes():
            if (index.bucket, index.name) == (bucket, name):
                return index
        raise NotFoundError(f"there is no index {name} in a bucket {bucket}")

    async def recall(
        self, bucket: str, name: str, *, queries: int | Float32Matrix, limit: int, document: Any, seed: int
    ) -> RecallReport:
        """The recall of an index, for queries with this filter document; see `Upkeep.recall`.

        Raises NotFoundError, ValidationError.
        """
        index = await self.index(bucket, name)
        condition = None if document is None else parse_filter(document, index.spec.non_filterable)
        return await self._upkeep.recall(
            index.index_id, index.spec, queries=queries, limit=limit, condition=condition, seed=seed
        )

    async def warm(
        self, bucket: str, name: str, *, whole: bool = False, progress: Progress = no_progress
    ) -> Warmed | None:
        """Fill the caches of this process for an index; see `Upkeep.warm`. Raises NotFoundError."""
        index = await self.index(bucket, name)
        return await self._upkeep.warm(index.index_id, index.spec, whole=whole, progress=progress)

    async def inspect(self) -> AsyncIterator[tuple[Stored, IndexSummary]]:
        """What each index consists of."""
        for stored in await self.stored():
            yield stored, await self._upkeep.inspect(stored.index_id)

    async def check(self) -> AsyncIterator[tuple[str, list[Finding]]]:
        """For the catalog, then for each index it names: what is wrong. Run it on a root nobody writes to."""
        flaws = await audit_log(
            self._store, self._runtime, paths.CATALOG_ROOT, paths.CATALOG_OWNER, CatalogMachine()
        )
        yield "catalog", [Finding(*flaw) for flaw in flaws]
        try:
            indexes = await self.indexes()
        except DataError:
            return  # of what the audit found
        for index in indexes:
            try:
                findings = await self._upkeep.check(index.index_id, index.spec)
            except KmsError as error:
                findings = [Finding(paths.index_key_name(index.index_id), error.message)]
            yield f"{index.bucket}/{index.name}", findings

    async def rebuild(self) -> AsyncIterator[tuple[str, list[str]]]:
        """For each index: the segments that were rebuilt from their rows.

        One that is deleted meanwhile is passed over; damage that cannot be repaired is for `check` to report.
        """
        for index in await self.indexes():
            rebuilt: list[str] = []
            with suppress(NotFoundError, DataError):
                rebuilt = await self._upkeep.rebuild(index.index_id, index.spec)
            yield f"{index.bucket}/{index.name}", rebuilt

    async def compact(self) -> AsyncIterator[Index]:
        """Flush and merge each index; yields those done.

        One that is deleted meanwhile is passed over, and so is one whose KMS key cannot be used.
        """
        for index in await self.indexes():
            try:
                with suppress(NotFoundError):  # deleted meanwhile
                    await self._upkeep.compact(index.index_id, index.spec)
            except KmsError:
                continue
            yield index

    async def collect(self, age: float) -> AsyncIterator[tuple[str, Collected]]:
        """Remove garbage older than `age` seconds (by the store's clock) from the catalog and every index.

        An index whose KMS key cannot be used is passed over, and keeps what it holds of others.
        """
        checkpoints = CheckpointStore(self._store, self._runtime, paths.CATALOG_ROOT, paths.CATALOG_OWNER)
        removed = await collect(
            self._store, self._runtime, paths.CATALOG_ROOT, checkpoints, age, lambda _: frozenset()
        )
        yield "catalog", Collected(len(removed), sum(info.size for info in removed))
        await self._release(age)
        for stored in await self.stored():
            clean = self._upkeep.collect if stored.named else self._upkeep.discard
            try:
                removed_here = await clean(stored.index_id, age)
            except KmsError:
                continue
            yield stored.title, removed_here

    async def _release(self, age: float) -> None:
        """Give up clones whose makers went away, then let go of what clones do not read any more.

        Until nothing changes: an index that was let go of may itself be a clone.
        """
        stored = await self.stored()
        for each in stored:
            with suppress(ConflictError, KmsError):  # its maker gave it a name after all
                if each.named is None and await self._upkeep.unborn(each.index_id, age):
                    await self._catalog.execute(AbandonIndex(each.index_id))
                    await self._upkeep.abandon(each.index_id)
        while any([await self._let_go(each.index_id, age) for each in stored]):
            pass

    async def _let_go(self, index_id: str, age: float) -> bool:
        """Whether an index let go of something; what cannot be read for want of a KMS key is kept."""
        try:
            return await self._upkeep.release(index_id, age)
        except KmsError:
            return False
