"""Server processes in process groups of their own, so that nothing survives a kill: Quiver, and stores."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import boto3

from cli.running import KEYS, environment, free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

START_SECONDS = 90
STOP_SECONDS = 60
MOTO = Path(__file__).parents[1] / "objectstore" / "moto_server.py"
DOORS = Path(__file__).with_name("store_doors.py")
S3_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


class Group:
    """A command and all its descendants. Leaving the context kills what is left of them."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path | None = None) -> None:
        with (Path(os.devnull) if log is None else log).open("ab") as output:
            self.process = subprocess.Popen(
                command, env=environment, stdout=output, stderr=output, start_new_session=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def wait_until_it_listens(self, port: int) -> None:
        """Until somebody does at the port. Raises AssertionError when nobody does."""
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up:
            assert self.process.poll() is None, "the server ended by itself"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("the server does not listen")

    def kill(self) -> None:
        """SIGKILL to every process of the group; returns when none of them is left."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)
        give_up = time.monotonic() + STOP_SECONDS
        while self._alive():
            assert time.monotonic() < give_up, "killed processes are still there"
            time.sleep(0.01)

    def _alive(self) -> bool:
        """Whether any process of the group runs; one that is dead but not yet reaped does not."""
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
                if int(group) == self.process.pid and state not in "ZX":
                    return True
        return False


class Server(Group):
    """A running `quiver serve`.

    Args:
        root: the directory or URL to serve.
        workers: number of worker processes.
        log: file that takes what the server prints.
        prefix: command that runs the server, e.g. in a namespace.
        variables: further environment. Unless it names a file of credentials, there is one pair, `KEYS`.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        workers: int = 1,
        log: Path | None = None,
        prefix: Sequence[str] = (),
        **variables: str,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        serve = ["serve", str(root), "--port", str(self.port), "--workers", str(workers)]
        command = [*prefix, sys.executable, "-m", "quiver.cli.main", *serve]
        # A log of every request would cost more than the requests.
        settings = {"QUIVER_LOG_LEVEL": "error"} | variables
        keys = {} if "QUIVER_CREDENTIALS_FILE" in settings else KEYS
        super().__init__(command, environment(**keys, **settings), log)
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def _wait_until_ready(self) -> None:
        give_up = time.monotonic() + START_SECONDS
        while not self._healthy():
            code = self.process.poll()
            assert code is None, f"the server did not start: exit code {code}"
            assert time.monotonic() < give_up, "the server does not answer"
            time.sleep(0.02)

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def workers(self) -> set[int]:
        """Process ids of the workers that run now."""
        return children(self.process.pid, "spawn_main")

    def resident(self) -> int:
        """Bytes of memory that the workers have now, all together."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.workers())
        return pages * os.sysconf("SC_PAGE_SIZE")

    def maintainers(self) -> set[int]:
        """Process ids of the workers' maintenance processes that run now."""
        return {pid for worker in self.workers() for pid in children(worker, "quiver.maintainer")}

    def stop(self) -> int:
        """SIGTERM, and the exit code; nothing is left running."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            self.kill()


def children(pid: int, command: str) -> set[int]:
    """Processes started by any thread of a process whose command line holds a text."""
    found = set()
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in listed.read_text().split():
                with suppress(OSError):
                    if command in Path(f"/proc/{child}/cmdline").read_text():
                        found.add(int(child))
    return found


class Moto(Group):
    """A running moto server with one bucket."""

    BUCKET = "quiver-cluster"

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__([sys.executable, str(MOTO), str(self.port)], environment())
        try:
            self.wait_until_it_listens(self.port)
            self._create_bucket()
        except BaseException:
            self.kill()
            raise

    def variables(self, url: str | None = None) -> dict[str, str]:
        """The environment of a server that keeps its data here, directly or through a proxy at `url`."""
        return S3_KEYS | {"AWS_ENDPOINT_URL": url or self.url}

    def _create_bucket(self) -> None:
        client = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        client.create_bucket(Bucket=self.BUCKET)


class Doors(Group):
    """A running store of `store_doors`, in memory. Any bucket name will do.

    Args:
        doors: how many ways there are to it, the sound one (number 0) included.
        seed: of the faults.
        clock_offset: seconds by which the store's clock is ahead.
    """

    def __init__(self, doors: int, seed: int = 0, clock_offset: float = 0.0, log: Path | None = None) -> None:
        self.ports = [free_port() for _ in range(doors)]
        given = [str(value) for value in (seed, clock_offset, *self.ports)]
        super().__init__([sys.executable, str(DOORS), *given], environment(), log)
        try:
            self.wait_until_it_listens(self.ports[-1])
        except BaseException:
            self.kill()
            raise

    def variables(self, door: int) -> dict[str, str]:
        """The environment of a server that goes through this door."""
        return S3_KEYS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.ports[door]}"}

    def rule(self, door: int, *, rate: float = 0.0, closed: bool = False) -> None:
        """Set the part of requests with a fault behind a door, or close it."""
        self._ask("POST", "/_faults", json.dumps({"door": door, "rate": rate, "closed": closed}))

    def counts(self) -> dict[str, Any]:
        """`doors`: what happened behind each, by method and fault; `late`: how many are still under way."""
        return json.loads(self._ask("GET", "/_counts"))

    def _ask(self, method: str, target: str, body: str = "") -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[0], timeout=30)
        try:
            connection.request(method, target, body)
            return connection.getresponse().read()
        finally:
            connection.close()
