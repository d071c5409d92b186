"""`quiver serve`: credentials, the server, and a greeting when it is ready."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from typing import TYPE_CHECKING, Any

import typer

from quiver.assemble import open_service
from quiver.cli.credentials import Source, resolve
from quiver.cli.greeting import greeting
from quiver.model.runtime import SystemRuntime
from quiver.prices import load_prices
from quiver.settings import SettingsError

if TYPE_CHECKING:
    from quiver.cli.credentials import KeyPair
    from quiver.settings import Settings


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises: SettingsError, QuiverError; SystemExit when no worker starts."""
    from quiver.server.run import run  # noqa: PLC0415 - after the settings proved right

    pair = resolve(settings)
    load_prices(settings.prices)  # what is wrong with them is said before workers start
    asyncio.run(prepare(settings))
    settings = dataclasses.replace(
        settings, **_handed_on(pair), admin_port=settings.admin_port or _port_near(settings)
    )
    try:
        run(settings, on_ready=lambda: typer.echo(greeting(settings, pair)))
    except OSError as error:
        raise SettingsError(f"cannot listen on {settings.host} port {settings.port}: {error.strerror}") from error


def _handed_on(pair: KeyPair) -> dict[str, Any]:
    """The settings by which workers find the credentials: the pair itself, or the file of principals."""
    if pair.source is Source.PRINCIPALS:
        return {"credentials_file": str(pair.file)}
    return {"access_key_id": pair.access_key_id, "secret_access_key": pair.secret_access_key}


async def prepare(settings: Settings) -> None:
    """Create the root when it is new, so that what speaks against its store is said before workers start.

    Raises: SettingsError, UnavailableError, DataError.
    """
    runtime = SystemRuntime()
    try:
        root = await open_service(settings, runtime, background=False)
        await root.close()
    finally:
        runtime.close()


def _port_near(settings: Settings) -> int:
    """The port after the server's own, or any free one: a second server on one machine starts all the same."""
    for port in (settings.port + 1, 0):
        family = socket.AF_INET6 if ":" in settings.admin_host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.admin_host, port))
            except (OSError, OverflowError):
                continue
            return int(probe.getsockname()[1])
    raise SettingsError(f"QUIVER_ADMIN_HOST {settings.admin_host} cannot be listened on")
