"""A server started by the command line in a process of its own, with credentials in the environment."""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config

SOURCE = Path(__file__).parents[2] / "src"
KEYS = {"QUIVER_ACCESS_KEY_ID": "TESTKEY1", "QUIVER_SECRET_ACCESS_KEY": "a-secret-of-a-sensible-length"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without settings, credentials or proxies of its own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("QUIVER_", "AWS_")) and not name.lower().endswith("_proxy")
    }
    return kept | {"PYTHONPATH": str(SOURCE)} | changes


class RunningServer:
    """A context manager around `quiver serve`. `greeting` is what it printed until it was ready."""

    def __init__(self, root: str, *arguments: str, log: Any = subprocess.DEVNULL, **changes: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "quiver.cli.main", "serve", root, "--port", str(self.port), *arguments]
        self.process = subprocess.Popen(
            command, env=environment(**changes), stdout=subprocess.PIPE, stderr=log, text=True
        )
        self.greeting = self._read_greeting(deadline=time.monotonic() + 120)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.terminate()
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self.process.stdout.close()
        return code

    def client(
        self, key: str = KEYS["QUIVER_ACCESS_KEY_ID"], secret: str = KEYS["QUIVER_SECRET_ACCESS_KEY"]
    ) -> Any:
        """A boto3 client of this server that does not repeat requests."""
        return boto3.client(
            "s3vectors",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )

    def _read_greeting(self, deadline: float) -> str:
        text = ""
        descriptor = self.process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while '["vectors"])' not in text:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self.process.kill()
                    raise TimeoutError(f"the server is not ready; it printed {text!r}")
                block = os.read(descriptor, 65536)
                if not block:
                    raise RuntimeError(f"the server ended with {self.process.wait()}; it printed {text!r}")
                text += block.decode()
        return text
