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
    from quiver.settings import Settings


@contextlib.asynccontextmanager
async def opened(root: str, *, create: bool = False) -> AsyncIterator[OpenRoot]:
    """The root, with nothing going on in the background.

    Only commands that create things `create` it: a mistyped one must not look like one that is empty and sound.
    Raises QuiverError, SettingsError.
    """
    async with opened_as(load(os.environ, root=root), create=create) as open_root:
        yield open_root


@contextlib.asynccontextmanager
async def opened_as(settings: Settings, *, create: bool = False) -> AsyncIterator[OpenRoot]:
    """The same with these settings, whatever the environment says."""
    runtime = SystemRuntime()
    try:
        open_root = await open_service(settings, runtime, background=False, create=create)
        try:
            yield open_root
        finally:
            await open_root.close()
    finally:
        runtime.close()
