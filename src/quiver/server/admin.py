"""The admin listener: /metrics and /stats of all worker processes, on an address of its own.

It runs in the parent process, reads what the workers wrote, and offers nothing else.
"""

from __future__ import annotations

import os
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from quiver.server.problems import read_problems
from quiver.server.stats import document

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class AdminListener:
    """Answers GET /metrics (Prometheus text) and GET /stats (JSON) until closed.

    Args:
        host: address to listen on.
        port: port to listen on; 0 for a free one.
        directory: where the worker processes keep their metrics.

    Raises:
        OSError: the address cannot be had.
    """

    def __init__(self, host: str, port: int, directory: Path) -> None:
        self._directory = directory
        self._started = time.monotonic()
        routes = {"/metrics": self._metrics, "/stats": self._stats}
        self._server = _Server((host, port), type("Handler", (_Handler,), {"routes": routes}))
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="admin", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _registry(self) -> CollectorRegistry:
        _forget_dead_workers(self._directory)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(self._directory))  # type: ignore[no-untyped-call]
        return registry

    def _metrics(self) -> tuple[str, bytes]:
        return CONTENT_TYPE_LATEST, generate_latest(self._registry())

    def _stats(self) -> tuple[str, bytes]:
        stats = {
            "uptimeSeconds": round(time.monotonic() - self._started, 1),
            "workers": len(_worker_files(self._directory)),
            **document(self._registry().collect()),
            "problems": read_problems(self._directory),
        }
        return "application/json", orjson.dumps(stats)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


class _Handler(BaseHTTPRequestHandler):
    routes: dict[str, Callable[[], tuple[str, bytes]]]
    timeout = 10
    server_version = "quiver"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer one of the routes, or 404."""
        make = self.routes.get(self.path)
        if make is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        kind, body = make()
        self.send_response(HTTPStatus.OK)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature of http.server
        """Scrapes are not worth a line."""


def _worker_files(directory: Path) -> list[Path]:
    return list(directory.glob("gauge_livesum_*.db"))


def _forget_dead_workers(directory: Path) -> None:
    """Drop the live gauges of workers that were killed; their counters stay."""
    for file in _worker_files(directory):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, str(directory))  # type: ignore[no-untyped-call]
