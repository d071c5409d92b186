"""What the library faces need of an open root: a way to call operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from quiver.service.service import Response


class Caller(Protocol):
    """Does one S3 Vectors operation, as `Service.call`. Raises QuiverError."""

    def __call__(self, operation: str, params: dict[str, Any], /) -> Awaitable[Response]:
        """`await caller("GetIndex", {...})`."""
