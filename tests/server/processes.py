"""Starts and stops a server of fake workers, and speaks raw HTTP to it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parents[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServerProcess:
    """A running server; `port` and `admin_port` are its listeners."""

    def __init__(self, workers: int = 1, idle_seconds: float = 30) -> None:
        self.port, self.admin_port = free_port(), free_port()
        search = [str(TESTS), str(TESTS.parent / "src")]
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - kept as long as the server
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(search), "FAKE_IDLE_SECONDS": str(idle_seconds)}
        arguments = [str(TESTS / "server" / "fake_server.py"), str(self.port), str(workers), str(self.admin_port)]
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        line = self.process.stdout.readline()
        if line != "ready\n":
            raise RuntimeError(f"the server did not start: {line}{self.logged()}")

    def logged(self) -> str:
        """Everything written to standard error so far."""
        self.log.seek(0)
        return self.log.read()

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        commands = {int(child): Path(f"/proc/{child}/cmdline").read_text() for child in children}
        return [child for child, command in commands.items() if "spawn_main" in command]

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.terminate()
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(60)
        self.process.stdout.close()
        return code

    def raw(self, request: bytes, *, finish: bool = False, timeout: float = 60) -> tuple[bytes, bool]:
        """Send bytes; what comes back until the answer is complete, and whether the server closed."""
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.settimeout(timeout)
            try:
                connection.sendall(request)
                if finish:
                    connection.shutdown(socket.SHUT_WR)
                return read_answer(connection)
            except ConnectionResetError:
                return b"", True


def read_answer(connection: socket.socket) -> tuple[bytes, bool]:
    """One answer, then whether the connection ended within a short while."""
    data = b""
    while not complete(data):
        received = connection.recv(65536)
        if not received:
            return data, True
        data += received
    connection.settimeout(1.0)
    try:
        return data, connection.recv(1) == b""
    except TimeoutError:
        return data, False
    except ConnectionResetError:
        return data, True


def complete(data: bytes) -> bool:
    head, found, body = data.partition(b"\r\n\r\n")
    if not found or head.startswith(b"HTTP/1.1 100"):
        return bool(found) and complete(body)
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(lengths) and len(body) >= int(lengths[0].split(b":")[1])
