"""What the library faces need of an open root."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from quiver.service.reading import AS_SET

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from quiver.service.administration import Administration
    from quiver.service.bulk_operations import BulkOperations
    from quiver.service.reading import Reading
    from quiver.service.service import Response
    from quiver.service.snapshot_operations import SnapshotOperations


class Caller(Protocol):
    """Does one S3 Vectors operation, as `Service.call`. Raises QuiverError."""

    def __call__(
        self, operation: str, params: dict[str, Any], reading: Reading = AS_SET, /
    ) -> Awaitable[Response]:
        """`await caller("GetIndex", {...})`."""


class Root(Protocol):
    """An open root."""

    @property
    def bulk(self) -> BulkOperations:
        """Loading and export."""

    @property
    def snapshots(self) -> SnapshotOperations:
        """Snapshots and clones."""

    @property
    def administration(self) -> Administration:
        """What an operator does."""

    @property
    def call(self) -> Caller:
        """The operations of S3 Vectors."""
