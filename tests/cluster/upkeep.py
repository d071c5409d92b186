"""`quiver fsck` and `quiver compact` in this process, on a root that no server uses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from quiver.assemble import open_service
from quiver.model.runtime import SystemRuntime
from quiver.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def findings(root: str | Path, key_file: str | Path = "") -> list[str]:
    """Everything that is wrong with a root, which is encrypted if there is a key file; [] when it is sound."""
    return asyncio.run(_findings(Settings(root=str(root), encryption_key_file=str(key_file))))


def compact(root: str | Path) -> None:
    """Flush and merge everything."""
    asyncio.run(_compact(str(root)))


async def _compact(root: str) -> None:
    runtime = SystemRuntime(threads=2)
    try:
        opened = await open_service(Settings(root=root), runtime, background=False)
        async for _ in opened.administration.compact():
            pass
        await opened.close()
    finally:
        runtime.close()


async def _findings(settings: Settings) -> list[str]:
    runtime = SystemRuntime(threads=2)
    try:
        opened = await open_service(settings, runtime, background=False)
        try:
            return [
                f"{name}: {finding.key}: {finding.problem}"
                async for name, found in opened.administration.check()
                for finding in found
            ]
        finally:
            await opened.close()
    finally:
        runtime.close()
