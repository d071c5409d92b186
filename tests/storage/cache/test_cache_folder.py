"""Tests of the folders of the disk tier: each process has its own, and the next finds what is in it."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from quiver.storage.cache import cache_folder
from storage.cache.kept import BLOCK, BUDGET, Thing, descriptors, files, tier_of, used


@pytest.mark.parametrize("killed", [False, True], ids=["closed", "killed"])
def test_blocks_are_found_again_after_a_restart(tmp_path, killed):
    things = [Thing(number, 8 * BLOCK + number) for number in range(5)]
    with tier_of(tmp_path / "a") as tier:
        for thing in things:
            thing.offer(tier)
        if killed:  # as the files are now is how a kill would leave them
            shutil.copytree(tmp_path / "a", tmp_path / "b")
    folder = tmp_path / ("b" if killed else "a")
    for _ in range(2):
        with tier_of(folder) as tier:
            assert all(thing.read(tier).all() for thing in things)
            assert used(folder) <= tier.counters.nbytes <= BUDGET


def test_each_takes_a_folder_of_its_own_and_the_next_finds_its_blocks(tmp_path):
    first, second = Thing(1, 3 * BLOCK), Thing(2, 3 * BLOCK)
    with tier_of(tmp_path) as a, tier_of(tmp_path) as b:
        first.offer(a)
        second.offer(b)
        assert not first.read(b).any()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]
    with tier_of(tmp_path) as a, tier_of(tmp_path) as b:
        assert first.read(a).all()
        assert second.read(b).all()


def test_two_processes_take_different_folders(tmp_path):
    code = (
        "import sys, pathlib; from quiver.storage.cache.disk_tier import DiskTier;"
        "tier = DiskTier.open(pathlib.Path(sys.argv[1]), 1 << 20); print('open', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"open\n"
        with tier_of(tmp_path) as tier:
            Thing(1, BLOCK).offer(tier)
            assert files(tmp_path)[0].parent.name == "1"
        process.kill()
    with tier_of(tmp_path) as tier:
        Thing(1, BLOCK).offer(tier)
        assert {path.parent.name for path in files(tmp_path)} == {"0", "1"}


def test_only_the_owner_can_enter(tmp_path):
    with tier_of(tmp_path / "new") as tier:
        Thing(1, BLOCK).offer(tier)
    for path in (tmp_path / "new").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    (tmp_path / "new" / "0").chmod(0o777)
    with tier_of(tmp_path / "new"):
        assert stat.S_IMODE((tmp_path / "new" / "0").stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_used_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"), tier_of(tmp_path / "file"):
        pass
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "0").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="not a directory of the user"), tier_of(tmp_path / "folder"):
        pass
    monkeypatch.setattr(cache_folder, "can_punch", lambda fd: False)
    before = descriptors()
    with pytest.raises(OSError, match="cannot make holes"), tier_of(tmp_path / "solid"):
        pass
    assert descriptors() == before


def test_what_older_versions_left_is_deleted_and_files_of_others_are_left_alone(tmp_path):
    folder = tmp_path / "0"
    folder.mkdir(mode=0o700)
    others = ["notes.txt", "0000.slab", "0000000000000000-a b.slab", "x.blocks", "A" * 32 + ".blocks"]
    gone = ["0000000000000003-gone.slab", "7fffffffffffffff-0123abc.slab", "0" * 32 + ".blocks"]
    for name in others + gone:
        (folder / name).write_text("mine")
    (folder / f"{'1' * 32}.blocks").mkdir()
    os.mkfifo(folder / f"{'2' * 32}.blocks")
    with tier_of(tmp_path) as tier:
        Thing(1, BLOCK).offer(tier)
        assert Thing(1, BLOCK).read(tier).all()
    kept = {f"{Thing(1, 1).name.hex()}.blocks", f"{'1' * 32}.blocks", "lock"}
    assert {path.name for path in folder.iterdir()} == {*others, *kept}


def test_a_killed_writer_leaves_only_right_blocks(tmp_path):
    """It writes and evicts until it is killed; what is found then is right, and within the budget."""
    code = (
        "import sys, pathlib; from storage.cache.kept import BLOCK, BUDGET, Thing, DiskTier\n"
        "tier = DiskTier.open(pathlib.Path(sys.argv[1]), BUDGET)\n"
        "things = [Thing(number, 22 * BLOCK) for number in range(6)]\n"
        "while True:\n"
        "    for thing in things: thing.offer(tier); thing.read(tier, thing.blocks[::2])\n"
        "    print('round', flush=True)\n"
    )
    tests = str(Path(__file__).parents[2])
    things = [Thing(number, 22 * BLOCK) for number in range(6)]
    for delay in (0.05, 0.13, 0.31):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([tests, *sys.path])}
        with subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, env=environment
        ) as process:
            assert process.stdout.readline() == b"round\n"
            threading.Event().wait(delay)
            process.send_signal(signal.SIGKILL)
        with tier_of(tmp_path) as tier:
            assert used(tmp_path) <= BUDGET
            held = sum(int(thing.known(tier).sum()) for thing in things)
            assert held == sum(int(thing.read(tier).sum()) for thing in things) > 0
            assert tier.counters.damaged == 0


def test_no_descriptor_stays_open(tmp_path):
    before = descriptors()
    with tier_of(tmp_path) as tier:
        for number in range(40):
            Thing(number % 15, 8 * BLOCK).offer(tier)
            Thing(number % 15, 8 * BLOCK).read(tier)
    assert descriptors() == before
