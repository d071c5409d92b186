"""The entry of a worker process: holds the numeric libraries to one thread before anything loads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.model.threads import loading_for_one_thread

if TYPE_CHECKING:
    from quiver.server.app import Application


def create() -> Application:
    """See `worker.create`."""
    with loading_for_one_thread():
        from quiver.server import worker  # noqa: PLC0415 - not before the limits are set
    return worker.create()
