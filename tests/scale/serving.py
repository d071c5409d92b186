"""A server over a directory of its own with tight limits, a boto3 client of it, and what its processes hold."""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config

SOURCE = Path(__file__).parents[2] / "src"
KEYS = {"QUIVER_ACCESS_KEY_ID": "SCALETEST1", "QUIVER_SECRET_ACCESS_KEY": "a-secret-of-a-sensible-length"}


class Server:
    """A context manager around `quiver serve` on one worker.

    Args:
        root: the directory to serve.
        file_limit: file descriptors each of its processes may have; None for this process's limit.
        settings: environment variables.
    """

    def __init__(self, root: Path, file_limit: int | None = None, **settings: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("QUIVER_", "AWS_"))}
        command = ["serve", str(root), "--port", str(self.port), "--workers", "1"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "quiver.cli.main", *command],
            env=kept | {"PYTHONPATH": str(SOURCE)} | KEYS | settings,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if file_limit is not None:  # long before the interpreter is up and starts the worker
            resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (file_limit, file_limit))

    def __enter__(self) -> Self:
        deadline = time.monotonic() + 90
        while not self._is_ready():
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.process.kill()
                raise TimeoutError("the server did not start")
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(90)

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        return False

    def client(self, connections: int = 10) -> Any:
        """A boto3 client that does not repeat requests."""
        return boto3.client(
            "s3vectors",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name="us-east-1",
            aws_access_key_id=KEYS["QUIVER_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["QUIVER_SECRET_ACCESS_KEY"],
            config=Config(
                retries={"total_max_attempts": 1}, proxies={}, max_pool_connections=connections, read_timeout=120
            ),
        )

    def processes(self) -> list[Path]:
        """The directories in /proc of the server and what it started."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [Path(f"/proc/{one}") for one in (pid, *children)]

    def open_files(self) -> int:
        """File descriptors of the process that has most."""
        return max(len(list((process / "fd").iterdir())) for process in self.processes())

    def resident(self) -> int:
        """Bytes of memory of all processes."""
        pages = sum(int((process / "statm").read_text().split()[1]) for process in self.processes())
        return pages * os.sysconf("SC_PAGE_SIZE")


class Peak:
    """A context manager that looks at the server's memory every 20 ms; `most` bytes were resident at once."""

    def __init__(self, server: Server) -> None:
        self.most = 0
        self._server = server
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self.most = max(self.most, self._server.resident())
