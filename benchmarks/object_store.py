"""An object store in a process of its own, for benchmarks: S3's protocol over a folder; see `store_server`."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.common import REPOSITORY, free_port
from benchmarks.request_log import NONE, Latency, Record

if TYPE_CHECKING:
    from pathlib import Path


class ObjectStore:
    """A context manager around the server of a folder; the folders in it are buckets."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.store_server", str(folder), str(self.port)], cwd=REPOSITORY
        )

    def __enter__(self) -> ObjectStore:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                self.clear()
                return self
            if time.monotonic() > deadline or self._process.poll() is not None:
                self._process.kill()
                raise TimeoutError("the object store did not start")
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    def url(self, bucket: str, prefix: str) -> str:
        """A root as Quiver takes it."""
        return f"s3://{bucket}/{prefix}?endpoint={self.endpoint}"

    def environment(self, client: str) -> dict[str, str]:
        """Variables that let a process in, under a name that the log has."""
        return {
            "AWS_ACCESS_KEY_ID": client,
            "AWS_SECRET_ACCESS_KEY": "not-checked",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def simulate(self, latency: Latency = NONE) -> None:
        """From the next request on, and from the beginning of the seed's sequence."""
        self._ask("PUT", "/_latency", json.dumps(latency._asdict()).encode())

    def log(self) -> list[Record]:
        """All requests answered since `clear`, in the order of their answers."""
        return [Record(*fields) for fields in json.loads(self._ask("GET", "/_log"))]

    def clear(self) -> None:
        """Forget all requests."""
        self._ask("DELETE", "/_log")

    def _ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body)
            return connection.getresponse().read()
