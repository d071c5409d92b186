"""Power cuts and killed processes at every system call of a local store, on a simulated disk."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest

from objectstore.contract import run
from objectstore.simulated_filesystem import InlineRuntime, Intercepted, SimulatedFilesystem
from quiver.model.errors import QuiverError
from quiver.objectstore.local import LocalStore
from quiver.objectstore.store import ObjectExistsError, ObjectNotFoundError

ROOT = Path("/disk/db")
SAMPLES = 40
BODIES = {
    "index/1/log/1": b"one" * 100,
    "index/1/log/2": b"two" * 700,
    "index/1/seg/a": b"segment" * 3_000,
    "index/2/log/1": b"three",
    "top": b"",
}
AGAIN = b"created again after the deletion"


class PowerLossError(BaseException):
    """No code catches it by accident."""


class Life:
    """A writer's life up to a given system call, and what it knew at its end."""

    def __init__(self, ends_at: int, disk: SimulatedFilesystem, spoil=None) -> None:
        self.acknowledged: dict[str, bytes] = {}
        self.tried: dict[str, set[bytes]] = {}
        self.calls = 0
        self.over = False
        self._ends_at = ends_at
        self._disk = disk
        self._spoil = spoil

    def hook(self, name, call, args):
        self.calls += not self.over
        if self.calls > self._ends_at:
            self.over = True
            if name == "close":
                return None  # directories are closed by the garbage collector, which cannot raise
            raise PowerLossError
        if self._spoil is not None and self._spoil(self._disk, name, args):
            return None
        return call()

    async def live(self) -> None:
        store = LocalStore(ROOT, InlineRuntime(), Intercepted(self._disk, self.hook))
        for key, body in BODIES.items():
            await self._put(store, key, body)
        with suppress(ObjectExistsError):
            await store.put_new("index/1/log/2", [b"somebody else's"])
        for key in ("index/2/log/1", "index/1/log/1"):
            self.acknowledged.pop(key, None)
            await store.delete([key])
        await self._put(store, "index/2/log/1", AGAIN)
        await store.close()

    async def _put(self, store: LocalStore, key: str, body: bytes) -> None:
        self.tried.setdefault(key, set()).add(body)
        await store.put_new(key, [body[:5], body[5:]])
        self.acknowledged[key] = body


def live_until(ends_at: int, spoil=None) -> tuple[Life, SimulatedFilesystem]:
    disk = SimulatedFilesystem()
    life = Life(ends_at, disk, spoil)
    with suppress(PowerLossError):
        run(life.live())
    return life, disk


async def contents(store: LocalStore) -> dict[str, bytes]:
    found = {info.key: bytes(await store.get(info.key)) for info in await store.list("")}
    for key in BODIES.keys() - found.keys():
        with pytest.raises(ObjectNotFoundError):
            await store.get(key)
    return found


async def check(disk: SimulatedFilesystem, promised: dict[str, bytes], tried: dict[str, set[bytes]]) -> None:
    """What was promised is there, nothing is there in part, and the store goes on."""
    store = LocalStore(ROOT, InlineRuntime(), disk)
    found = await contents(store)
    for key, body in promised.items():
        assert found.get(key) == body, f"{key} was promised and is {found.get(key)!r:.40}"
    for key, body in found.items():
        assert body in tried[key], f"{key} is neither whole nor absent"
    await store.put_new("index/1/log/after", [b"still serving"])
    assert await contents(store) == {**found, "index/1/log/after": b"still serving"}
    await store.close()
    assert [name for name, _ in disk.scan(f"{ROOT}/.tmp")] == ["lock"]


def crash_states(life: Life, disk: SimulatedFilesystem, promised: dict[str, bytes]) -> None:
    for sample in range(SAMPLES):
        chance = random.Random(life.calls * 1_000 + sample)
        run(check(disk.power_loss(chance), promised, life.tried))


COMPLETE, _ = live_until(10**9)


def test_the_scenario_runs_to_its_end_and_is_long_enough() -> None:
    assert COMPLETE.acknowledged.keys() == BODIES.keys() - {"index/1/log/1"}
    assert COMPLETE.acknowledged["index/2/log/1"] == AGAIN
    assert COMPLETE.calls > 80


def test_a_power_cut_at_any_call_loses_nothing_acknowledged() -> None:
    for ends_at in range(COMPLETE.calls + 1):
        life, disk = live_until(ends_at)
        crash_states(life, disk, life.acknowledged)


def test_what_another_process_has_read_survives_a_power_cut() -> None:
    for ends_at in range(COMPLETE.calls + 1):
        life, disk = live_until(ends_at)
        seen = run(contents(LocalStore(ROOT, InlineRuntime(), disk)))
        crash_states(life, disk, seen)


async def restart(filesystem) -> dict[str, bytes]:
    """Put something, which clears what dead processes left, and read everything."""
    store = LocalStore(ROOT, InlineRuntime(), filesystem)
    with suppress(QuiverError):
        await store.put_new("index/3/log/1", [BODIES["index/1/log/1"]])
    return await contents(store)


def every_restart(hook=lambda name, call, args: call()) -> None:
    for ends_at in range(COMPLETE.calls + 1):
        life, disk = live_until(ends_at)
        disk.kill_processes()
        life.tried["index/3/log/1"] = {BODIES["index/1/log/1"]}
        crash_states(life, disk, run(restart(Intercepted(disk, hook))))


def test_what_a_restarted_process_has_read_survives_a_power_cut() -> None:
    every_restart()


def test_clearing_a_dead_process_away_without_forcing_its_work_to_disk_is_caught() -> None:
    with pytest.raises(AssertionError, match="was promised"):
        every_restart(lambda name, call, args: None if name == "sync_all" else call())


def test_a_reader_that_takes_what_it_sees_for_durable_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalStore, "_settle", lambda self, directories: None)
    with pytest.raises(AssertionError, match="was promised"):
        test_what_another_process_has_read_survives_a_power_cut()


def without_sync_of(directories: bool):
    def spoil(disk: SimulatedFilesystem, name: str, args) -> bool:
        return name == "sync" and disk.is_directory(args[0]) == directories

    return spoil


@pytest.mark.parametrize("directories", [False, True], ids=["files", "directories"])
def test_a_store_that_does_not_sync_is_caught(directories: bool) -> None:
    life, disk = live_until(10**9, without_sync_of(directories))
    with pytest.raises(AssertionError, match="was promised"):
        crash_states(life, disk, life.acknowledged)


def test_a_store_that_does_not_sync_new_directories_is_caught() -> None:
    def spoil(disk: SimulatedFilesystem, name: str, args) -> bool:
        if name != "sync" or not disk.is_directory(args[0]):
            return False
        changes = disk._open[args[0]].pending
        return bool(changes) and all(type(node).__name__ == "Folder" for _, node in changes)

    life, disk = live_until(10**9, spoil)
    with pytest.raises(AssertionError, match="was promised"):
        crash_states(life, disk, life.acknowledged)
