"""Upkeep in a process of its own: it starts, works, leaves, dies, is replaced; nothing is lost or left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from asynchronous import asynchronous
from cli.running import environment
from quiver.assemble import OpenRoot, open_service
from quiver.engine.native.workshop import Job, OwnWorkshop, Watcher
from quiver.maintenance.process import MaintenanceProcess
from quiver.model.runtime import CRASH_AT, SystemRuntime
from quiver.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from quiver.engine.native.index import NativeIndex

FLUSH_ROWS = 20
NAMES = {"vectorBucketName": "demo", "indexName": "words"}


class Notes(Watcher):
    """Notes every job that ended, and every stage that was reported."""

    def __init__(self) -> None:
        self.ended_jobs: list[tuple[Job, bool]] = []
        self.running = 0
        self.stages: dict[str, int] = {}

    def started(self, job: Job) -> None:
        self.running += 1

    def ended(self, job: Job, seconds: float, *, done: bool) -> None:
        assert seconds >= 0
        self.running -= 1
        self.ended_jobs.append((job, done))

    def progress(self, stage: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        self.stages[stage] = done


class Node:
    """A root with one index."""

    def __init__(self, root: OpenRoot, notes: Notes) -> None:
        self.root = root
        self.notes = notes
        self._count = 0

    @property
    def workshop(self) -> MaintenanceProcess:
        workshop = self.root.engine._workshop
        assert isinstance(workshop, MaintenanceProcess)
        return workshop

    @property
    def index(self) -> NativeIndex:
        (index,) = self.root.engine._open.values()
        return index

    async def put(self, rows: int) -> None:
        """Put rows that were never there before, in one batch."""
        keys = [f"k{self._count + n}" for n in range(rows)]
        vectors = [{"key": key, "data": {"float32": [n, 1.0]}} for n, key in enumerate(keys)]
        self._count += rows
        await self.root.call("PutVectors", {**NAMES, "vectors": vectors})

    async def check(self) -> None:
        """Everything that was put is there."""
        body = (await self.root.call("ListVectors", {**NAMES, "maxResults": 1000})).body
        assert {row["key"] for row in body["vectors"]} == {f"k{n}" for n in range(self._count)}

    async def child(self) -> int:
        """The process id of the maintenance process, as soon as there is one."""
        return await until(lambda: self.workshop.pid)


@asynccontextmanager
async def open_node(directory: Path, **changes: Any) -> AsyncIterator[Node]:
    runtime, notes = SystemRuntime(threads=4), Notes()
    settings = Settings(root=str(directory / "root"), flush_rows=FLUSH_ROWS, garbage_age_seconds=1)
    root = await open_service(settings, runtime, watcher=notes)
    for name, value in changes.items():
        setattr(root.engine._workshop, name, value)
    await root.call("CreateVectorBucket", {"vectorBucketName": "demo"})
    kind = {"dataType": "float32", "dimension": 2, "distanceMetric": "euclidean"}
    await root.call("CreateIndex", {**NAMES, **kind})
    try:
        yield Node(root, notes)
    finally:
        await root.close()
        runtime.close()


async def until(condition: Any, seconds: float = 120) -> Any:
    """What the condition says as soon as it says anything."""
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < give_up, "it never happened"
        await asyncio.sleep(0.005)
    return found


def runs(pid: int) -> bool:
    """Whether a process exists and is not waiting to be reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_another_process_flushes_merges_and_collects_and_is_gone_after_closing(tmp_path: Path) -> None:
    async def scenario() -> int:
        async with open_node(tmp_path) as node:
            await node.put(FLUSH_ROWS - 1)
            assert node.workshop.pid is None, "started before there is anything to do"
            await node.put(1)
            pid = await node.child()
            assert pid != os.getpid()
            assert os.getpriority(os.PRIO_PROCESS, pid) >= os.getpriority(os.PRIO_PROCESS, 0) + 1
            await node.index.maintenance.wait()
            assert node.index.state.tail.rows == 0, "the tail is not known to be short before somebody reads"
            assert len(node.index.state.segments) == 1
            for _ in range(4):
                await node.put(FLUSH_ROWS)
                await node.index.maintenance.wait()
            assert node.workshop.pid == pid, "one process does all"
            assert len(node.index.state.segments) < 4
            assert node.notes.ended_jobs == [(Job.FLUSH, True), (Job.TIDY, True)] * 5
            assert node.notes.running == 0
            await node.check()
            return pid

    assert not runs(asyncio.run(scenario()))


@asynchronous
async def test_progress_of_the_other_process_is_reported_here(tmp_path: Path) -> None:
    async with open_node(tmp_path) as node:
        await node.put(FLUSH_ROWS)
        await node.index.maintenance.wait()
        assert node.notes.stages["sample"] == node.notes.stages["write"] == FLUSH_ROWS


@asynchronous
async def test_closing_waits_for_a_flush_under_way(tmp_path: Path) -> None:
    async with open_node(tmp_path) as node:
        await node.put(FLUSH_ROWS)
        index, workshop = node.index, node.workshop
        await until(lambda: workshop._under_way)
        assert workshop.pid is None
    assert index.state.tail.rows == 0
    assert node.notes.ended_jobs == [(Job.FLUSH, True)]
    assert workshop._child is not None
    assert not runs(workshop._child.pid)


@asynchronous
async def test_closing_does_not_wait_for_ever(tmp_path: Path) -> None:
    async with open_node(tmp_path, _close_seconds=0.2) as node:
        await node.put(FLUSH_ROWS)
        pid = await node.child()
        os.kill(pid, signal.SIGSTOP)
        started = time.monotonic()
        await node.root.close()
        assert time.monotonic() - started < 60
        assert not runs(pid)
        assert node.notes.ended_jobs == [(Job.FLUSH, False)]


@asynchronous
async def test_a_killed_process_fails_its_job_and_the_next_write_starts_another(tmp_path: Path) -> None:
    async with open_node(tmp_path) as node:
        await node.put(FLUSH_ROWS)
        first = await node.child()
        os.kill(first, signal.SIGKILL)
        await node.index.maintenance.wait()
        if node.index.maintenance.failures:  # else it was done before it died
            assert node.index.state.tail.rows == FLUSH_ROWS
        await node.put(2 * FLUSH_ROWS)
        second = await node.child()
        assert second != first
        await node.index.maintenance.wait()
        assert node.index.state.tail.rows == 0
        await node.check()


@asynchronous
async def test_a_process_that_dies_at_its_work_is_started_again_without_another_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(tmp_path) as node:
        monkeypatch.setenv(CRASH_AT, "segment:written")
        await node.put(FLUSH_ROWS)
        await node.index.maintenance.wait()
        assert node.index.maintenance.failures == 1
        assert node.notes.ended_jobs == [(Job.FLUSH, False)]
        monkeypatch.delenv(CRASH_AT)
        await until(lambda: node.index.state.tail.rows == 0)
        await node.index.maintenance.wait()
        assert node.index.maintenance.failures == 1
        await node.check()


@asynchronous
async def test_a_process_without_work_leaves_and_the_next_job_has_another(tmp_path: Path) -> None:
    async with open_node(tmp_path, _idle_seconds=0.01) as node:
        pids = set()
        for _ in range(3):
            await node.put(FLUSH_ROWS)
            pids.add(await node.child())
            await node.index.maintenance.wait()
            assert node.index.state.tail.rows == 0, "a job was lost"
            await until(lambda: node.workshop.pid is None)
        assert len(pids) == 3
        assert node.index.maintenance.failures == 0
        assert not any(runs(pid) for pid in pids)
        await node.check()


@asynchronous
async def test_an_order_that_reaches_a_process_as_it_leaves_goes_to_the_next_one(tmp_path: Path) -> None:
    async with open_node(tmp_path, _idle_seconds=0.3) as node:
        await node.put(FLUSH_ROWS)
        pid = await node.child()
        await node.index.maintenance.wait()
        os.kill(pid, signal.SIGSTOP)
        await node.put(FLUSH_ROWS)
        await until(lambda: node.index.maintenance._running)
        await asyncio.sleep(1)  # its patience is over before it can read the order
        assert node.workshop.pid == pid
        os.kill(pid, signal.SIGCONT)
        await node.index.maintenance.wait()
        assert node.index.maintenance.failures == 0
        assert node.index.state.tail.rows == 0
        await node.check()


@pytest.mark.parametrize("interpreter", ["", "/nonexistent/python", "/bin/false"])
@asynchronous
async def test_where_no_process_can_be_started_the_work_is_done_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interpreter: str
) -> None:
    async with open_node(tmp_path) as node:
        monkeypatch.setattr(sys, "executable", interpreter)
        await node.put(FLUSH_ROWS)
        await node.index.maintenance.wait()
        assert node.workshop.pid is None
        assert node.index.state.tail.rows == 0
        assert node.notes.ended_jobs == [(Job.FLUSH, True), (Job.TIDY, True)]


@asynchronous
async def test_an_index_that_was_deleted_is_no_failure(tmp_path: Path) -> None:
    async with open_node(tmp_path) as node:
        index = await node.root.engine.open("f" * 32, (await indexes_spec(node)))
        await index.seal()
        index.maintenance._start(Job.FLUSH)
        await index.maintenance.wait()
        assert index.maintenance.failures == 0


async def indexes_spec(node: Node) -> Any:
    await node.put(1)
    return node.index.spec


@asynchronous
async def test_a_root_in_memory_commands_and_whoever_chose_so_keep_to_their_own_process(tmp_path: Path) -> None:
    runtime, local = SystemRuntime(threads=1), str(tmp_path)
    for settings, background in [
        (Settings(root="memory:"), True),
        (Settings(root=local), False),
        (Settings(root=local, maintenance="inline"), True),
    ]:
        root = await open_service(settings, runtime, background=background)
        assert type(root.engine._workshop) is OwnWorkshop
        await root.close()
    runtime.close()


def test_secrets_are_not_handed_on(tmp_path: Path) -> None:
    settings = Settings(root=str(tmp_path), access_key_id="key", secret_access_key="a-secret-of-a-sensible-length")
    runtime = SystemRuntime(threads=1)
    handed_on = MaintenanceProcess(settings, runtime)._environment()
    runtime.close()
    assert (handed_on["QUIVER_ACCESS_KEY_ID"], handed_on["QUIVER_SECRET_ACCESS_KEY"]) == ("", "")
    assert handed_on["QUIVER_ROOT"] == str(tmp_path)


PROGRAM = """
import glob, signal, sys, time, quiver
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs in the background
db = quiver.connect(sys.argv[1], flush_rows=20)
index = db.create_bucket("demo").create_index("words", dimension=2)
index.put([f"k{n}" for n in range(20)], [[n + 1, 1] for n in range(20)])
while True:
    for children in glob.glob("/proc/self/task/*/children"):
        for pid in open(children).read().split():
            if "quiver.maintainer" in open(f"/proc/{pid}/cmdline").read():
                print(pid, flush=True)
                time.sleep(60)
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_program_that_ends_without_closing_leaves_no_process_behind(tmp_path: Path, end: signal.Signals) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "root")],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert program.stdout is not None
    child = int(program.stdout.readline())
    if end == signal.SIGINT:
        os.killpg(program.pid, end)  # as a terminal does it
    else:
        program.send_signal(end)
    assert program.wait(30) != 0
    program.stdout.close()
    give_up = time.monotonic() + 60
    while runs(child):
        assert time.monotonic() < give_up, "the maintenance process outlives its parent"
        time.sleep(0.02)
