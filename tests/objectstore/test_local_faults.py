"""A failing disk under a local store: every system call fails once, in several ways."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from objectstore.contract import run
from objectstore.simulated_filesystem import InlineRuntime, Intercepted, SimulatedFilesystem
from quiver.model.errors import StoreUnavailableError
from quiver.objectstore.local import LocalStore
from quiver.objectstore.store import ObjectExistsError, ObjectNotFoundError, StoreRefusedError

ROOT = Path("/disk/db")
BEFORE = {"index/1/log/1": b"old" * 50, "index/1/seg/a": b"segment" * 300}
NEW = {"index/1/log/2": b"new" * 90, "index/2/log/1": b"newer" * 10}

DONE_ALL_THE_SAME = {"link", "sync", "write", "create", "unlink", "make_directory", "remove_directory"}
"""Calls that may report an error and yet have taken effect, as on NFS."""


class Fault:
    """Lets the call number `at` fail, before or after it takes effect."""

    def __init__(self, at: int, number: int, after_effect: bool = False) -> None:
        self.calls = 0
        self.failed = ""
        self.at = at
        self._number = number
        self._after_effect = after_effect

    def __call__(self, name, call, args):
        self.calls += 1
        if self.calls != self.at:
            return call()
        self.failed = name
        # Linux gives the descriptor back even when close reports an error.
        if name == "close" or (self._after_effect and name in DONE_ALL_THE_SAME):
            call()
        raise OSError(self._number, os.strerror(self._number))


async def prepared() -> SimulatedFilesystem:
    disk = SimulatedFilesystem()
    store = LocalStore(ROOT, InlineRuntime(), disk)
    for key, body in BEFORE.items():
        await store.put_new(key, [body])
    await store.close()
    return disk


async def use(store: LocalStore) -> dict[str, str]:
    """Each operation once; what came of each put."""
    outcomes = {}
    for key, body in NEW.items():
        try:
            await store.put_new(key, [body[:7], body[7:]])
            outcomes[key] = "created"
        except StoreRefusedError:
            outcomes[key] = "refused"
        except StoreUnavailableError:
            outcomes[key] = "unknown"
    with suppress(StoreUnavailableError):
        assert bytes(await store.get("index/1/seg/a")) == BEFORE["index/1/seg/a"]
    with suppress(StoreUnavailableError):
        assert set(BEFORE) <= {info.key for info in await store.list("index/")} <= set(BEFORE) | set(NEW)
    with suppress(StoreUnavailableError):
        await store.delete(["index/1/log/1"])
    return outcomes


async def check(disk: SimulatedFilesystem, store: LocalStore, outcomes: dict[str, str]) -> None:
    """The disk works again: nothing is lost or half there, and the same store goes on serving."""
    listed = {info.key for info in await store.list("")}
    assert listed <= set(BEFORE) | set(NEW)
    assert "index/1/seg/a" in listed
    for key in listed:
        assert bytes(await store.get(key)) == (BEFORE | NEW)[key]
    for key, outcome in outcomes.items():
        assert outcome != "created" or key in listed
        assert outcome != "refused" or key not in listed
        with suppress(ObjectExistsError):
            await store.put_new(key, [NEW[key]])
        assert bytes(await store.get(key)) == NEW[key]
    await store.delete([*BEFORE, *NEW])
    assert await store.list("") == []
    await store.close()
    successor = LocalStore(ROOT, InlineRuntime(), disk)
    await successor.put_new("a", [b"1"])
    await successor.close()
    assert [name for name, _ in disk.scan(f"{ROOT}/.tmp")] == ["lock"]
    assert sorted(name for name, _ in disk.scan(str(ROOT))) == [".tmp", "a"]


async def one_fault(fault: Fault) -> dict[str, str]:
    disk = await prepared()
    store = LocalStore(ROOT, InlineRuntime(), Intercepted(disk, fault))
    outcomes = await use(store)
    fault.at = 0
    await check(disk, store, outcomes)
    return outcomes


def count_calls() -> int:
    async def work() -> int:
        fault = Fault(0, 0)
        store = LocalStore(ROOT, InlineRuntime(), Intercepted(await prepared(), fault))
        assert set((await use(store)).values()) == {"created"}
        return fault.calls

    return run(work())


CALLS = count_calls()


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EINTR, errno.EMFILE, errno.EDQUOT, errno.EROFS])
def test_any_call_may_fail_once(number: int, after_effect: bool) -> None:
    assert CALLS > 50
    seen = set()
    for at in range(1, CALLS + 1):
        fault = Fault(at, number, after_effect)
        outcomes = run(one_fault(fault))
        seen.add(fault.failed)
        assert list(outcomes.values()).count("created") >= 1, "one fault, one victim"
    assert {"create", "write", "sync", "close", "link", "unlink", "open", "read", "scan", "lock"} <= seen


def fails_at(name: str, number: int, times: int = 1):
    """A hook that lets the calls of one name fail, the first `times` times."""
    left = [times]

    def hook(called, call, args):
        if called == name and left[0] > 0:
            left[0] -= 1
            raise OSError(number, os.strerror(number))
        return call()

    return hook


def put_with(hook) -> tuple[LocalStore, SimulatedFilesystem]:
    async def work():
        disk = SimulatedFilesystem()
        store = LocalStore(ROOT, InlineRuntime(), disk)
        await store.put_new("x/first", [b"1"])
        store._filesystem = store._directories._filesystem = Intercepted(disk, hook)
        return store, disk

    return run(work())


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("create", errno.EMFILE),
        ("create", errno.ENOSPC),
        ("write", errno.ENOSPC),
        ("write", errno.EIO),
        ("sync", errno.EIO),
        ("close", errno.ENOSPC),
        ("close", errno.EDQUOT),
        ("link", errno.ENOSPC),
        ("link", errno.EACCES),
        ("link", errno.EROFS),
    ],
)
def test_what_fails_before_the_object_has_its_name_is_refused(name: str, number: int) -> None:
    store, disk = put_with(fails_at(name, number))
    with pytest.raises(StoreRefusedError, match=os.strerror(number)):
        run(store.put_new("x/key", [b"body"]))
    with pytest.raises(ObjectNotFoundError):
        run(store.get("x/key"))
    assert temporary_files(disk) == []
    run(store.put_new("x/key", [b"body"]))


def temporary_files(disk: SimulatedFilesystem) -> list[str]:
    area = f"{ROOT}/.tmp"
    private = [name for name, is_directory in disk.scan(area) if is_directory]
    return [name for path in private for name, _ in disk.scan(f"{area}/{path}") if name != "lock"]


def test_a_name_that_may_not_be_durable_is_unknown_until_it_is() -> None:
    """Reading answers neither yes nor no until the directory can be forced to disk."""
    syncs = [0]

    def hook(called, call, args):
        if called == "sync":
            syncs[0] += 1
            if 2 <= syncs[0] <= 4:
                raise OSError(errno.EIO, "broken")
        return call()

    store, disk = put_with(hook)
    with pytest.raises(StoreUnavailableError):
        run(store.put_new("x/key", [b"body"]))
    assert len(temporary_files(disk)) == 1
    with pytest.raises(StoreUnavailableError):
        run(store.get("x/key"))
    with pytest.raises(StoreUnavailableError):
        run(store.list("x/"))
    assert bytes(run(store.get("x/key"))) == b"body"


def test_a_link_with_an_unclear_error_is_unknown() -> None:
    store, _ = put_with(fails_at("link", errno.EIO))
    with pytest.raises(StoreUnavailableError):
        run(store.put_new("x/key", [b"body"]))


@pytest.mark.parametrize("number", [errno.EEXIST, errno.EIO, errno.ETIMEDOUT])
def test_a_link_that_was_made_but_reported_as_failed_counts_as_made(number: int) -> None:
    def hook(called, call, args):
        result = call()
        if called == "link":
            raise OSError(number, os.strerror(number))
        return result

    store, disk = put_with(hook)
    run(store.put_new("x/key", [b"body"]))
    assert bytes(run(store.get("x/key"))) == b"body"
    assert temporary_files(disk) == []


@pytest.mark.parametrize("at_most", [1, 3, 100, 1023])
def test_short_writes_are_continued(at_most: int) -> None:
    def hook(called, call, args):
        if called != "write":
            return call()
        fd, buffers = args
        return call(fd, [b"".join(buffers)[:at_most]])

    store, _ = put_with(hook)
    parts = [b"a" * 5, b"b" * 1024, b"", bytearray(b"c" * 3), memoryview(b"d" * 10)]
    run(store.put_new("x/key", parts))
    assert bytes(run(store.get("x/key"))) == b"".join(parts)


def test_a_disk_that_takes_no_bytes_is_an_error() -> None:
    store, _ = put_with(lambda called, call, args: 0 if called == "write" else call())
    with pytest.raises(StoreRefusedError, match="took no bytes"):
        run(store.put_new("x/key", [b"body"]))


def test_a_file_that_ends_early_is_an_error() -> None:
    store, _ = put_with(lambda called, call, args: call()[:-1] if called == "read" else call())
    run(store.put_new("x/key", [b"body"]))
    with pytest.raises(StoreUnavailableError, match="ended early"):
        run(store.get("x/key"))


def test_a_file_that_vanishes_during_a_listing_is_left_out() -> None:
    def hook(called, call, args):
        result = call()
        if called == "status" and stat.S_ISREG(result.st_mode) and args[0].endswith("/gone"):
            raise FileNotFoundError(errno.ENOENT, "gone")
        return result

    store, _ = put_with(hook)
    run(store.put_new("x/gone", [b"body"]))
    assert [info.key for info in run(store.list(""))] == ["x/first"]


def test_a_directory_that_keeps_disappearing_ends_in_an_error() -> None:
    store, _ = put_with(fails_at("link", errno.ENOENT, times=100))
    with pytest.raises(StoreRefusedError, match="keeps disappearing"):
        run(store.put_new("x/key", [b"body"]))


def test_a_directory_removed_in_the_middle_of_a_put_is_made_again() -> None:
    disk = SimulatedFilesystem()
    left = [3]

    def hook(called, call, args):
        if called == "link" and left[0]:
            left[0] -= 1
            for path in ("x/y", "x"):
                disk.remove_directory(f"{ROOT}/{path}")
        return call()

    store = LocalStore(ROOT, InlineRuntime(), Intercepted(disk, hook))
    run(store.put_new("x/y/key", [b"body"]))
    assert left == [0]
    assert bytes(run(store.get("x/y/key"))) == b"body"
