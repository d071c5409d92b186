"""A root open for the time of one command."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from quiver.assemble import open_service
from quiver.model.runtime import SystemRuntime
from quiver.settings import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from quiver.assemble import OpenRoot


@contextlib.asynccontextmanager
async def opened(root: str) -> AsyncIterator[OpenRoot]:
    """The root, with nothing going on in the background. Raises QuiverError, SettingsError."""
    runtime = SystemRuntime()
    try:
        open_root = await open_service(load(os.environ, root=root), runtime, background=False)
        try:
            yield open_root
        finally:
            await open_root.close()
    finally:
        runtime.close()
