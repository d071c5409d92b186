"""Opening a root as a library: the four functions of the package's top level."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from quiver.assemble import open_service
from quiver.library.client import AsyncClient
from quiver.library.connection import AsyncConnection
from quiver.library.sync import open_synchronously
from quiver.model.runtime import SystemRuntime
from quiver.settings import load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quiver.library.caller import Root


async def async_client(url: str, **settings: str | int) -> AsyncClient:
    """Open a root; the methods of boto3's `s3vectors` client as coroutines. See `client`."""
    root, close = await _open(url, settings)
    return AsyncClient(root.call, close)


async def async_connect(url: str, **settings: str | int) -> AsyncConnection:
    """Open a root; buckets and indexes as objects with coroutines. See `connect`."""
    return AsyncConnection(*await _open(url, settings))


def client(url: str, **settings: str | int) -> Any:
    """Open a root in this process; method names, arguments, results and errors of boto3's `s3vectors` client.

    Args:
        url: a directory, or a URL of file, memory, s3, gs or az.
        **settings: by name as in docs/operations.md in lower case, e.g. `region="eu-west-1"`; they come before
            the environment.

    Raises: SettingsError, UnavailableError, DataError.
    """
    return open_synchronously(async_client(url, **settings))


def connect(url: str, **settings: str | int) -> Any:
    """Open a root in this process; buckets and indexes as objects, NumPy arrays in and out.

    Arguments and errors as for `client`; afterwards, errors are those of `quiver.errors`.
    """
    return open_synchronously(async_connect(url, **settings))


async def _open(url: str, settings: dict[str, str | int]) -> tuple[Root, Callable[[], Awaitable[None]]]:
    runtime = SystemRuntime()
    try:
        root = await open_service(load(os.environ, root=url, **settings), runtime)
    except BaseException:
        runtime.close()
        raise

    async def close() -> None:
        await root.close()
        runtime.close()

    return root, close
