"""Tests of the store on a real local disk: the contract, processes that race or die, hostile directories."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from objectstore.contract import LARGE, Connections, ObjectStoreContract, run
from quiver.model.errors import StoreUnavailableError
from quiver.objectstore.filesystem import Filesystem
from quiver.objectstore.local import LocalStore
from quiver.objectstore.memory import MemoryStore
from quiver.objectstore.store import ObjectNotFoundError, StoreRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quiver.model.runtime import SystemRuntime

SOURCE = Path(__file__).parents[2] / "src"


class TestLocalStore(ObjectStoreContract):
    @pytest.fixture
    def connections(self, tmp_path: Path, runtime: SystemRuntime) -> Connections:
        return LocalStore(tmp_path / "a" / "b", runtime), LocalStore(tmp_path / "a" / "b", runtime)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def store(root: Path, runtime: SystemRuntime) -> Iterator[LocalStore]:
    store = LocalStore(root, runtime)
    yield store
    run(store.close())


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Run code that has `store`, a LocalStore at the first argument, in a process of its own."""
    prelude = """
import asyncio, errno, os, sys, time
from pathlib import Path
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.filesystem import Filesystem
from quiver.objectstore.local import LocalStore
from quiver.objectstore.store import *
from quiver.model.errors import *
store = LocalStore(Path(sys.argv[1]), SystemRuntime())
"""
    return subprocess.Popen(
        [sys.executable, "-c", prelude + code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )


def temporary_files(root: Path) -> list[Path]:
    return [path for path in (root / ".tmp").glob("*/*") if path.name != "lock"]


def test_directories_and_objects_are_private_to_their_owner(root: Path, store: LocalStore) -> None:
    run(store.put_new("x/y/key", [b"body"]))
    for path in (root, root / "x", root / "x/y", root / ".tmp"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "x/y/key").stat().st_mode) == 0o600


def test_reading_creates_nothing(root: Path, store: LocalStore) -> None:
    assert run(store.list("")) == []
    with pytest.raises(ObjectNotFoundError):
        run(store.get("key"))
    run(store.delete(["key"]))
    assert not root.exists()


def test_deletion_leaves_no_directories_behind(root: Path, store: LocalStore) -> None:
    for key in ("a/b/c/1", "a/b/2", "d/3"):
        run(store.put_new(key, [b"x"]))
    run(store.delete(["a/b/c/1", "d/3"]))
    assert sorted(path.name for path in root.rglob("*") if ".tmp" not in path.parts) == ["2", "a", "b"]


def test_the_temporary_area_and_foreign_files_are_not_listed(root: Path, store: LocalStore) -> None:
    run(store.put_new("x/key", [b"1"]))
    for name in (".hidden", "x/.DS_Store", "x/UPPER", "x/with space", "lost+found"):
        (root / name).write_bytes(b"foreign")
    (root / "x/link").symlink_to("/etc/passwd")
    (root / "outside").symlink_to("/etc", target_is_directory=True)
    os.mkfifo(root / "x/pipe")
    assert [info.key for info in run(store.list(""))] == ["x/key"]
    assert [info.key for info in run(store.list("x/"))] == ["x/key"]


def test_a_planted_link_is_not_followed_and_a_pipe_not_waited_for(root: Path, store: LocalStore) -> None:
    run(store.put_new("x/key", [b"1"]))
    (root / "x/link").symlink_to("/etc/passwd")
    os.mkfifo(root / "x/pipe")
    with pytest.raises(StoreUnavailableError):
        run(store.get("x/link"))
    with pytest.raises(ObjectNotFoundError):
        run(store.get("x/pipe"))


def test_objects_are_not_written_through_a_planted_directory_link(
    root: Path, store: LocalStore, tmp_path: Path
) -> None:
    run(store.put_new("x/key", [b"1"]))
    (tmp_path / "elsewhere").mkdir()
    (root / "y").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(StoreRefusedError):
        run(store.put_new("y/key", [b"1"]))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def open_files(root: Path) -> list[str]:
    """The paths of this process's descriptors, as far as they are under the root."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(str(entry.readlink()))
    return [path for path in found if path.startswith(str(root))]


def test_ranges_of_a_large_object_share_one_mapping(root: Path, store: LocalStore) -> None:
    async def work() -> None:
        await store.put_new("x/large", [LARGE])
        views = [memoryview(await store.get("x/large", start, 1000)) for start in range(0, 100_000, 1000)]
        assert b"".join(views) == LARGE[:100_000]
        assert open_files(root).count(f"{root}/x/large") == 1
        del views
        assert open_files(root).count(f"{root}/x/large") == 0

    run(work())


def test_few_directories_stay_open_and_none_after_closing(root: Path, runtime: SystemRuntime) -> None:
    async def work() -> None:
        store = LocalStore(root, runtime)
        for number in range(400):
            await store.put_new(f"many/{number}/key", [b"1"])
        assert 200 < len(open_files(root)) < 300
        await store.close()

    run(work())
    assert open_files(root) == []
    assert [path.name for path in (root / ".tmp").iterdir()] == ["lock"]


def test_a_put_makes_few_system_calls(root: Path, runtime: SystemRuntime) -> None:
    calls = []

    class Counting(Filesystem):
        def __getattribute__(self, name: str):
            if not name.startswith("_"):
                calls.append(name)
            return super().__getattribute__(name)

    store = LocalStore(root, runtime, Counting())
    run(store.put_new("x/log/1", [b"head", b"body"]))
    calls.clear()
    run(store.put_new("x/log/2", [b"head", b"body"]))
    assert calls == ["create", "write", "sync", "close", "link", "sync", "unlink"]
    calls.clear()
    with pytest.raises(ObjectNotFoundError):
        run(store.get("x/log/3"))
    assert calls == ["open"]


def test_puts_and_deletes_race_in_directories_that_come_and_go(root: Path, runtime: SystemRuntime) -> None:
    stores = [LocalStore(root, runtime), LocalStore(root, runtime)]

    async def churn(store: LocalStore, name: str) -> None:
        for number in range(60):
            key = f"hot/{number % 3}/deep/{name}"
            await store.put_new(key, [f"{name}{number}".encode()])
            assert bytes(await store.get(key)) == f"{name}{number}".encode()
            await store.delete([key])

    async def work() -> None:
        await asyncio.gather(*(churn(stores[number % 2], f"w{number}") for number in range(6)))
        assert await stores[0].list("") == []

    run(work())
    assert not (root / "hot").exists()


HANG_BEFORE = """
class Hanging(Filesystem):
    def {name}(self, *arguments):
        if not {when}:
            return super().{name}(*arguments)
        print("there", flush=True)
        time.sleep(60)
store._filesystem = Hanging()
asyncio.run(store.put_new("x/from-the-other", [b"body"]))
"""


def test_what_stands_is_asked_in_order_with_few_system_calls(root: Path, runtime: SystemRuntime) -> None:
    calls = []

    class Noting(Filesystem):
        def __getattribute__(self, name: str):
            call = super().__getattribute__(name)

            def noting(path, *given):
                calls.append(f"{name} {path.rpartition('/x/')[2]}")
                return call(path, *given)

            return noting

    store = LocalStore(root, runtime)
    run(store.put_new("x/checkpoint/7", [b"head and more"]))
    store._filesystem = Noting()
    assert run(store.stands("x/checkpoint/7", b"head", ("x/log/2", "x/checkpoint/8")))
    assert calls == ["is_absent log/2", "is_absent checkpoint/8", "begins_with checkpoint/7"]
    calls.clear()
    assert not run(store.stands("x/checkpoint/7", b"head", ("x/checkpoint/7", "x/log/2")))
    assert calls == ["is_absent checkpoint/7"]


def test_what_cannot_be_looked_at_is_not_taken_for_absent(root: Path, runtime: SystemRuntime) -> None:
    store = LocalStore(root, runtime)
    run(store.put_new("x/1", [b"head"]))
    (root / "x/directory").mkdir()
    (root / "x/link").symlink_to("1")
    (root / "x/loop").symlink_to("loop")
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert run(store.stands("x/1", b"head", ("x/2", "x/1/below")))
    assert not run(store.stands("x/directory", b"head", ("x/2",)))
    assert not run(store.stands("x/1", b"head", ("x/directory",)))
    assert not run(store.stands("x/1", b"head", ("x/loop",)))
    with pytest.raises(StoreUnavailableError, match="x/link"):
        run(store.stands("x/link", b"head", ()))
    with pytest.raises(StoreUnavailableError, match="x/1"):
        run(store.stands("x/1", b"head", ("x/" + 300 * "n",)))  # longer than a name may be
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_disk_that_fails_tells_nothing_of_what_stands(root: Path, runtime: SystemRuntime) -> None:
    class Failing(Filesystem):
        failing = ""

        def is_absent(self, path):
            return self._ask("is_absent") or super().is_absent(path)

        def begins_with(self, path, head):
            return self._ask("begins_with") or super().begins_with(path, head)

        def _ask(self, name):
            if self.failing == name:
                raise OSError(errno.EIO, "the disk")

    files = Failing()
    store = LocalStore(root, runtime, files)
    run(store.put_new("x/1", [b"head"]))
    assert run(store.stands("x/1", b"head", ("x/2",)))
    for files.failing in ("is_absent", "begins_with"):
        with pytest.raises(StoreUnavailableError, match="x/1"):
            run(store.stands("x/1", b"head", ("x/2",)))


@pytest.mark.parametrize(
    ("name", "visible"), [("link", False), ("unlink", True)], ids=["before it is named", "after it is named"]
)
def test_what_a_killed_process_leaves_is_removed_and_what_a_live_one_holds_is_kept(
    root: Path, runtime: SystemRuntime, name: str, visible: bool
) -> None:
    process = python(HANG_BEFORE.format(name=name, when="True"), str(root))
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    assert len(temporary_files(root)) == 1

    beside = LocalStore(root, runtime)
    run(beside.put_new("x/mine", [b"1"]))
    assert len(temporary_files(root)) == 1, "the other process lives"
    expected = ["x/from-the-other", "x/mine"] if visible else ["x/mine"]
    assert [info.key for info in run(beside.list(""))] == expected
    run(beside.close())

    process.send_signal(signal.SIGKILL)
    process.wait()
    after = LocalStore(root, runtime)
    run(after.put_new("x/other", [b"1"]))
    assert temporary_files(root) == []
    assert len([path for path in (root / ".tmp").iterdir() if path.is_dir()]) == 1
    assert [info.key for info in run(after.list(""))] == [*expected, "x/other"]
    run(after.close())


RACE = """
async def race():
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(300):
        try:
            await store.put_new(f"race/{number:03d}", [sys.argv[2].encode(), str(number).encode()])
            print(number)
        except ObjectExistsError:
            pass
    await store.close()
asyncio.run(race())
"""


def test_of_four_racing_processes_one_wins_each_key(root: Path, store: LocalStore) -> None:
    processes = [python(RACE, str(root), name) for name in "abcd"]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    winners: dict[int, str] = {}
    for name, process in zip("abcd", processes, strict=True):
        output, _ = process.communicate(timeout=180)
        assert process.returncode == 0
        for number in map(int, output.split()):
            assert number not in winners, "two were told they won"
            winners[number] = name
    assert sorted(winners) == list(range(300))
    assert len(set(winners.values())) > 1, "there was no race"
    for number, name in winners.items():
        assert bytes(run(store.get(f"race/{number:03d}"))) == f"{name}{number}".encode()
    assert temporary_files(root) == []


LIMITED = """
import resource
async def work():
    await store.put_new("x/before", [b"1"])
    limit(spare=0)
    try:
        await store.put_new("x/refused", [b"z" * 1_000_000])
    except StoreRefusedError as error:
        print(type(error.__cause__).__name__, error.__cause__.errno == expected)
    limit(spare=1)
    print([info.key for info in await store.list("")], bytes(await store.get("x/before")))
    unlimit()
    await store.put_new("x/refused", [b"z" * 1_000_000])
    print([info.key for info in await store.list("")], (await store.get("x/refused"))[:2] == b"zz")
    await store.close()
"""
FILE_SIZE = """
expected = errno.EFBIG
def limit(spare): resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
def unlimit(): resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
asyncio.run(work())
"""
DESCRIPTORS = """
expected = errno.EMFILE
held = []
def limit(spare):
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))
    try:
        while True: held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError: pass
    for _ in range(spare): os.close(held.pop())
def unlimit():
    for fd in held: os.close(fd)
asyncio.run(work())
"""


@pytest.mark.parametrize("limit", [FILE_SIZE, DESCRIPTORS], ids=["file size", "descriptors"])
def test_a_limit_reached_refuses_the_put_and_nothing_else(root: Path, limit: str) -> None:
    process = python(LIMITED + limit, str(root))
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 0
    assert output.splitlines() == [
        "OSError True",
        "['x/before'] b'1'",
        "['x/before', 'x/refused'] True",
    ]
    assert list((root / ".tmp").glob("*/*")) == []


def test_a_root_that_is_a_file_or_cannot_be_made_is_refused(tmp_path: Path, runtime: SystemRuntime) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/no/such")):
        with pytest.raises(StoreRefusedError):
            run(LocalStore(path, runtime).put_new("key", [b"1"]))


names = st.text("a0-_", min_size=1, max_size=2)
keys = st.lists(names, min_size=1, max_size=3).map("/".join)


def without_conflicts(chosen: list[str]) -> list[str]:
    """Leave out keys that are directories of other keys."""
    return [key for key in chosen if not any(other.startswith(f"{key}/") for other in chosen)]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=st.lists(keys, unique=True, max_size=12).map(without_conflicts), data=st.data())
def test_listings_agree_with_the_store_in_memory(
    tmp_path_factory: pytest.TempPathFactory, runtime: SystemRuntime, chosen: list[str], data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("list")
    for key in chosen:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(b"x")
    local, memory = LocalStore(root, runtime), MemoryStore(runtime)
    for key in chosen:
        run(memory.put_new(key, [b"x"]))
    # Also starts after things that are no keys: beginnings of keys, and keys with something after.
    cut = st.sampled_from([*chosen, "", "a"]).flatmap(lambda key: st.integers(0, len(key)).map(lambda n: key[:n]))
    for _ in range(5):
        prefix = data.draw(cut)
        after = data.draw(cut) + data.draw(st.sampled_from(["", "/", "-", "0", "z"]))
        expected = [info.key for info in run(memory.list(prefix, after))]
        assert [info.key for info in run(local.list(prefix, after))] == expected


def test_a_large_directory_is_listed_whole_while_others_write(root: Path, runtime: SystemRuntime) -> None:
    store, writer = LocalStore(root, runtime), LocalStore(root, runtime)
    keys = [f"big/{number:04d}" for number in range(600)]
    (root / "big").mkdir(parents=True)
    for key in keys:
        (root / key).write_bytes(b"x")

    async def write(stop: asyncio.Event) -> None:
        number = 0
        while not stop.is_set():
            await writer.put_new(f"big/new-{number}", [random.randbytes(50)])
            await writer.delete([f"big/new-{number}"])
            number += 1

    async def work() -> None:
        stop = asyncio.Event()
        writing = asyncio.create_task(write(stop))
        for _ in range(30):
            found = [info.key for info in await store.list("big/")]
            assert [key for key in found if "new" not in key] == keys
        stop.set()
        await writing

    run(work())
