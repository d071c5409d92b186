"""Snapshots and clones: what S3 Vectors has no operation for, under its rules for names and errors."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from quiver.model.errors import QuiverError, RequestError
from quiver.objectstore.store import StoreRefusedError
from quiver.service.arn import IndexRef
from quiver.service.catalog_commands import CreateIndex
from quiver.service.catalog_state import raise_failure
from quiver.service.names import check_bucket_name, check_index_name, check_snapshot_name

if TYPE_CHECKING:
    from quiver.engine.pinning import Pinned, Pinning
    from quiver.model.runtime import Runtime
    from quiver.service.catalog import Catalog
    from quiver.service.catalog_state import Index
    from quiver.service.encryption import Encryption


class SnapshotOperations:
    """Every method raises ValidationError for an illegal name, NotFoundError, UnavailableError, DataError."""

    def __init__(
        self, catalog: Catalog, engine: Pinning, runtime: Runtime, encryption: Encryption | None = None
    ) -> None:
        self._catalog = catalog
        self._encryption = encryption
        self._engine = engine
        self._runtime = runtime

    async def create(self, bucket: str, index: str, snapshot: str) -> Pinned:
        """Keep the index as it is now, with every write acknowledged so far, under a name.

        Raises ConflictError when the name is taken, QuotaExceededError.
        """
        check_snapshot_name(snapshot)
        found = await self._find(bucket, index)
        return await self._engine.snapshot(found.index_id, found.spec, snapshot)

    async def list(self, bucket: str, index: str) -> list[Pinned]:
        """The snapshots of an index, by name."""
        found = await self._find(bucket, index)
        return await self._engine.snapshots(found.index_id, found.spec)

    async def delete(self, bucket: str, index: str, snapshot: str) -> None:
        """Keep a snapshot no longer; clones of it stay."""
        check_snapshot_name(snapshot)
        found = await self._find(bucket, index)
        await self._engine.drop_snapshot(found.index_id, found.spec, snapshot)

    async def clone(
        self, bucket: str, index: str, new_bucket: str, new_index: str, snapshot: str | None = None
    ) -> Pinned:
        """Create an index with the contents of another, now or at a snapshot, of which no byte is copied.

        The bucket must exist. Specification, metadata configuration, encryption and tags are those of the source.
        Raises ConflictError when the name is taken, QuotaExceededError.
        """
        if snapshot is not None:
            check_snapshot_name(snapshot)
        check_bucket_name(new_bucket)
        check_index_name(new_index)
        source = await self._find(bucket, index)
        command = CreateIndex(
            new_bucket,
            new_index,
            self._runtime.new_id(),
            source.spec,
            int(self._runtime.time()),
            source.encryption,
            source.metadata_configuration,
            source.tags,
        )
        raise_failure(await self._catalog.read(lambda state: state.check(command)))
        if self._encryption is not None:
            await self._encryption.give(command.index_id, IndexRef(new_bucket, new_index), command.encryption)
        pinned = await self._engine.clone(source.index_id, source.spec, command.index_id, snapshot)
        await self._name(command)
        return pinned

    async def _name(self, command: CreateIndex) -> None:
        """Make the clone known. When it is certain that it never will be, it is deleted at once."""
        try:
            await self._catalog.execute(command)
        except (RequestError, StoreRefusedError):
            with suppress(QuiverError):  # else collecting garbage finds it
                await self._engine.abandon(command.index_id)
            raise

    async def _find(self, bucket: str, index: str) -> Index:
        check_bucket_name(bucket)
        check_index_name(index)
        return await self._catalog.index(IndexRef(bucket, index))
