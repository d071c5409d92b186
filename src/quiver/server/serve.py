"""The server process: worker processes on one port, stopped gracefully, respawned when one dies."""

from __future__ import annotations

import http.client
import multiprocessing
import os
import shutil
import socket
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from granian.constants import HTTPModes, Interfaces
from granian.server.mp import MPServer

from quiver.server.admin import AdminListener
from quiver.server.metrics import MULTIPROCESS_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Callable

WORKER = "quiver.server.entry:create"
DRAIN_SECONDS = 60


def serve(
    host: str,
    port: int,
    workers: int = 1,
    *,
    admin: tuple[str, int] | None = None,
    target: str = WORKER,
    drain_seconds: int = DRAIN_SECONDS,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Run until SIGTERM or SIGINT, then finish what was accepted and return. Call it from the main thread.

    Workers are fresh processes; they build their application from the environment.

    Args:
        host: address to listen on.
        port: port to listen on.
        workers: number of worker processes.
        admin: address and port of the listener for /metrics and /stats; None for no such listener.
        target: import string of the factory that builds a worker's ASGI application.
        drain_seconds: how long requests under way may take after the signal before their worker is killed.
        on_ready: called once, from another thread, when the first worker answers.

    Raises:
        OSError: an address cannot be had.
        SystemExit: with code 1 when workers die as fast as they start.
    """
    _refuse_taken_port(host, port)
    multiprocessing.set_start_method("spawn", force=True)
    with ExitStack() as stack:
        directory = tempfile.mkdtemp(prefix="quiver-metrics-")
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        os.environ[MULTIPROCESS_DIRECTORY] = directory
        if admin is not None:
            stack.callback(AdminListener(*admin, Path(directory)).close)
        if on_ready is not None:
            threading.Thread(target=_announce, args=(host, port, on_ready), daemon=True).start()
        _granian(host, port, workers, target, drain_seconds).serve()


def _granian(host: str, port: int, workers: int, target: str, drain_seconds: int) -> MPServer:
    return MPServer(
        target,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=workers,
        factory=True,
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
        respawn_failed_workers=True,
        workers_kill_timeout=drain_seconds,
    )


def _refuse_taken_port(host: str, port: int) -> None:
    """Workers share the port by SO_REUSEPORT, which would also let two servers share it unnoticed."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _announce(host: str, port: int, on_ready: Callable[[], None]) -> None:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    while True:
        connection = http.client.HTTPConnection(reachable, port, timeout=5)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                on_ready()
                return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.05)
