"""From settings to a running server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from quiver.server.serve import serve
from quiver.settings import to_environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from quiver.settings import Settings


def run(settings: Settings, on_ready: Callable[[], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was accepted. Worker processes load equal settings.

    Args:
        settings: with both keys of the owner filled in, or a file of principals named.
        on_ready: called once when the server answers.

    Raises:
        OSError: an address cannot be had.
        SystemExit: with code 1 when workers die as fast as they start.
    """
    os.environ.update(to_environment(settings))
    admin = (settings.admin_host, settings.admin_port or settings.port + 1)
    serve(settings.host, settings.port, settings.workers, admin=admin, on_ready=on_ready)
