"""Maintenance processes of a server that are killed under load: writes go on, upkeep is done, nothing is lost."""

from __future__ import annotations

import os
import re
import signal
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from cli.running import free_port
from cluster import judge, upkeep, workload
from cluster.crash_loop import LOW_THRESHOLDS
from cluster.processes import Server
from cluster.requests import Client, Outcome
from cluster.workload import EVERY_KEY, Clients

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

T = TypeVar("T")

KILLS = 4
PATIENCE = 60


def wait_for(condition: Callable[[], T], what: str) -> T:
    """What the condition says as soon as it says anything."""
    give_up = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < give_up, f"no {what}"
        time.sleep(0.005)
    return found


def flushes(port: int, result: str) -> int:
    """Flushes that ended so, as the admin listener tells."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    counts = re.findall(
        rf'^quiver_maintenance_jobs_total{{job="flush",result="{result}"}} (\S+)', text, re.MULTILINE
    )
    return sum(int(float(count)) for count in counts)


def acknowledged(directory: Path) -> int:
    """How many writes the clients were told about so far."""
    return sum(page.read_text().count(f'"{Outcome.OK.value}"') for page in directory.glob("client-*.jsonl"))


def test_writes_and_upkeep_survive_killed_maintenance_processes(tmp_path: Path) -> None:
    admin = free_port()
    variables = LOW_THRESHOLDS | {"QUIVER_ADMIN_PORT": str(admin), "TMPDIR": str(tmp_path)}
    with Server(tmp_path / "root", log=tmp_path / "log", **variables) as server:
        client = Client([server.port])
        workload.create_index(client)
        workers = server.workers()
        clients = Clients([server.port], tmp_path, 3, "kills", workload.unique_values())
        killed: set[int] = set()
        try:
            for number in range(KILLS):
                pid = min(wait_for(lambda: server.maintainers() - killed, "maintenance process"))
                time.sleep(0.4 * number)  # while it starts, then ever later in its work
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                killed.add(pid)
                before = acknowledged(tmp_path)
                wait_for(lambda: acknowledged(tmp_path) > before, "write after the kill")  # noqa: B023
            done = flushes(admin, "done")
            wait_for(lambda: flushes(admin, "done") > done + 1, "flush after the kills")
        finally:
            clients.stop()
        assert server.workers() == workers, "a worker died with its maintenance process"
        reads = [workload.read_keys(client, EVERY_KEY), workload.read_all(client, "ListVectors")]
        assert None not in reads
        judge.judge({}, clients.writes, clients.reads, [read for read in reads if read is not None])
        assert sum(write.outcome is Outcome.OK for write in clients.writes) > 50
        maintainers = server.maintainers()
        assert maintainers
        server.process.terminate()
        assert server.process.wait(60) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in maintainers)
    assert upkeep.findings(tmp_path / "root") == []
