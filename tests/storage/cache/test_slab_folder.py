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

from quiver.storage.cache.disk_tier import DiskTier
from storage.cache.kept import BLOCK, BUDGET, Thing, descriptors, opened, slabs, tier_of, used


@pytest.mark.parametrize("killed", [False, True], ids=["closed", "killed"])
def test_blocks_are_found_again_after_a_restart(tmp_path, killed):
    things = [Thing(number, 20 * BLOCK + number) for number in range(5)]
    with tier_of(tmp_path / "a") as tier:
        for thing in things:
            thing.offer(tier)
        if killed:  # as the files are now is how a kill would leave them
            shutil.copytree(tmp_path / "a", tmp_path / "b")
    folder = tmp_path / ("b" if killed else "a")
    for _ in range(2):
        with tier_of(folder) as tier:
            assert all(thing.read(tier).all() for thing in things)
            assert tier.counters.nbytes == used(folder) <= BUDGET


def test_a_slab_that_is_not_full_is_continued(tmp_path):
    things = [Thing(number, BLOCK) for number in range(5)]
    for thing in things:
        with tier_of(tmp_path) as tier:
            thing.offer(tier)
    assert len(slabs(tmp_path)) <= 2
    with tier_of(tmp_path) as tier:
        assert all(thing.read(tier).all() for thing in things)


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
        "tier = DiskTier.open(pathlib.Path(sys.argv[1]), 1 << 20, 'other'); print('open', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"open\n"
        with tier_of(tmp_path) as tier:
            Thing(1, BLOCK).offer(tier)
            assert slabs(tmp_path)[0].parent.name == "1"
        process.kill()
    with tier_of(tmp_path) as tier:
        Thing(1, BLOCK).offer(tier)
        assert {path.parent.name for path in slabs(tmp_path)} == {"0", "1"}


def test_only_the_owner_can_enter(tmp_path):
    with tier_of(tmp_path / "new") as tier:
        Thing(1, BLOCK).offer(tier)
    for path in (tmp_path / "new").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    (tmp_path / "new" / "0").chmod(0o777)
    with tier_of(tmp_path / "new"):
        assert stat.S_IMODE((tmp_path / "new" / "0").stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_used_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        opened(tmp_path / "file", BUDGET)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "0").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="not a directory of the user"):
        opened(tmp_path / "folder", BUDGET)
    with pytest.raises(ValueError, match="token"):
        DiskTier.open(tmp_path, BUDGET, "../x")


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / "0").mkdir(mode=0o700)
    for name in ("notes.txt", "0000.slab", "0000000000000000-a b.slab"):
        (tmp_path / "0" / name).write_text("mine")
    (tmp_path / "0" / "0000000000000003-gone.slab").write_text("nothing that can be read")
    (tmp_path / "0" / "0000000000000004-pipe.slab").mkdir()
    with tier_of(tmp_path) as tier:
        Thing(1, BLOCK).offer(tier)
        assert Thing(1, BLOCK).read(tier).all()
    names = {path.name for path in (tmp_path / "0").iterdir() if not path.is_dir()}
    assert {"notes.txt", "0000.slab", "0000000000000000-a b.slab"} < names
    assert "0000000000000003-gone.slab" not in names


def test_a_killed_writer_leaves_only_right_blocks(tmp_path):
    """It writes and evicts until it is killed; what is found then is right, and within the budget."""
    code = (
        "import sys, pathlib; from storage.cache.kept import Thing, opened\n"
        f"tier = opened(pathlib.Path(sys.argv[1]), {BUDGET})\n"
        "things = [Thing(number, 90 * 512) for number in range(6)]\n"
        "while True:\n"
        "    for thing in things: thing.offer(tier); thing.read(tier, thing.blocks[::2])\n"
        "    print('round', flush=True)\n"
    )
    tests = str(Path(__file__).parents[2])
    things = [Thing(number, 90 * BLOCK) for number in range(6)]
    for delay in (0.05, 0.13, 0.31):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([tests, *sys.path])}
        with subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, env=environment
        ) as process:
            assert process.stdout.readline() == b"round\n"
            threading.Event().wait(delay)
            process.send_signal(signal.SIGKILL)
        assert used(tmp_path) <= BUDGET
        with tier_of(tmp_path) as tier:
            held = sum(int(thing.known(tier).sum()) for thing in things)
            assert held == sum(int(thing.read(tier).sum()) for thing in things) > 0
            assert tier.counters.damaged == 0


def test_no_descriptor_stays_open(tmp_path):
    before = descriptors()
    with tier_of(tmp_path) as tier:
        for number in range(40):
            Thing(number % 15, 30 * BLOCK).offer(tier)
    assert descriptors() == before
