"""Tests of the files of the disk tier on a bad disk: damage, lies and failures never give a wrong byte."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiver.storage.cache import slab as slab_module
from quiver.storage.cache.slab import HEADER, Slab
from quiver.storage.cache.view import BLOCK as REAL_BLOCK
from storage.cache.kept import BLOCK, BUDGET, Thing, slabs, tier_of, used


def flip(path: Path, at: int, bit: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ (1 << bit)]))


def test_a_damaged_block_is_dropped_and_taken_again(tmp_path):
    thing = Thing(1, 5 * BLOCK)
    with tier_of(tmp_path) as tier:
        thing.offer(tier)
        flip(slabs(tmp_path)[0], 2 * (HEADER.size + BLOCK) + HEADER.size + 100)
        assert thing.read(tier).tolist() == [True, True, False, True, True]
        assert tier.counters.damaged == 1
        assert thing.known(tier).tolist() == [True, True, False, True, True]
        thing.offer(tier, np.array([2]))
        assert thing.read(tier).all()
        assert tier.counters.damaged == 1


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_takes_nothing_is_left_alone_for_a_while(tmp_path, monkeypatch, error):
    calls = []

    def failing(*args):
        calls.append(args)
        raise OSError(error, os.strerror(error))

    first, second = Thing(1, 5 * BLOCK), Thing(2, 100 * BLOCK)
    with tier_of(tmp_path) as tier:
        first.offer(tier)
        with monkeypatch.context() as patch:
            patch.setattr(slab_module.os, "pwritev", failing)
            second.offer(tier, second.blocks[:20])
            assert (len(calls), tier.counters.failures) == (1, 1)
            for _ in range(2):
                second.offer(tier)
            assert len(calls) == 1
            assert first.read(tier).all()
        second.offer(tier, second.blocks[:60])  # 260 refused: the pause is over
        assert not second.read(tier).any()
        second.offer(tier)
        assert second.read(tier).all()
        assert tier.counters.nbytes == used(tmp_path)


def test_a_disk_that_becomes_full_within_a_write(tmp_path):
    """The kernel takes some of the bytes only; the whole blocks among them are kept."""
    thing = Thing(1, 60 * REAL_BLOCK, REAL_BLOCK)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with tier_of(tmp_path, 256 << 20, REAL_BLOCK) as tier:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10 * REAL_BLOCK, hard))
        try:
            thing.offer(tier)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert tier.counters.failures == 1
        assert thing.read(tier).sum() == 9
        assert tier.counters.nbytes == used(tmp_path) == 9 * (REAL_BLOCK + HEADER.size)
        while not thing.read(tier).all():
            thing.offer(tier)
    with tier_of(tmp_path, 256 << 20, REAL_BLOCK) as tier:
        assert thing.read(tier).all()


def test_a_read_that_fails_is_a_miss(tmp_path, monkeypatch):
    thing = Thing(1, 5 * BLOCK)
    with tier_of(tmp_path) as tier:
        thing.offer(tier)

        def failing(*args):
            raise OSError(errno.EIO, "bad disk")

        monkeypatch.setattr(slab_module.os, "preadv", failing)
        assert not thing.read(tier).any()
        assert tier.counters.damaged == 5


def test_a_folder_that_disappears_is_survived(tmp_path):
    things = [Thing(number, 20 * BLOCK) for number in range(20)]
    with tier_of(tmp_path / "cache") as tier:
        things[0].offer(tier)
        shutil.rmtree(tmp_path / "cache")
        for thing in things:
            thing.offer(tier)
            thing.offer(tier)
            thing.read(tier)
        assert tier.counters.failures > 0


SIZES = [BLOCK * 20 + 7, 3, BLOCK * 33]


@pytest.fixture(scope="module")
def filled():
    """A folder with several slabs, the last of them without an index; and what is in it."""
    with tempfile.TemporaryDirectory() as folder:
        things = [Thing(number, size) for number, size in enumerate(SIZES)]
        with tier_of(Path(folder) / "live") as tier:
            for thing in things:
                thing.offer(tier)
            shutil.copytree(Path(folder) / "live", Path(folder) / "left")
        yield Path(folder) / "left", things


DAMAGE = st.lists(
    st.tuples(
        st.sampled_from(["flip", "truncate", "swap", "zero", "graft", "grow"]),
        st.floats(0, 1, exclude_max=True),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 7),
    ),
    min_size=1,
    max_size=6,
)


def damage(paths: list[Path], how: str, where: float, at: float, bit: int) -> None:
    path, other = paths[int(where * len(paths))], paths[int(at * len(paths))]
    data = bytearray(path.read_bytes())
    place = int(at * len(data))
    if how == "flip" and data:
        data[place] ^= 1 << bit
    elif how == "truncate":
        del data[place:]
    elif how == "swap":
        other_data = other.read_bytes()
        other.write_bytes(data)
        data = bytearray(other_data)
    elif how == "zero":
        data[place : place + 700] = bytes(len(data[place : place + 700]))
    elif how == "graft":  # a piece of one file in another
        data[place : place + 700] = other.read_bytes()[place : place + 700]
    elif how == "grow":
        data += data[place:]
    path.write_bytes(data)


@given(damages=DAMAGE, while_open=st.booleans())
@settings(max_examples=150)
def test_damaged_files_never_give_wrong_bytes(filled, damages, while_open):
    left, things = filled
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "cache"
        shutil.copytree(left, folder)
        files = slabs(folder)
        if not while_open:
            for each in damages:
                damage(files, *each)
        with tier_of(folder) as tier:
            if while_open:
                for each in damages:
                    damage(files, *each)
            for thing in things:
                here = thing.read(tier)  # which checks the bytes
                assert thing.known(tier).tolist() == here.tolist()
                thing.offer(tier)
                assert thing.read(tier).all()
        with tier_of(folder) as tier:
            for thing in things:
                thing.read(tier)
            assert used(folder) <= BUDGET


def stamped(raw: bytes) -> bytes:
    return raw[:-8] + slab_module.xxhash.xxh3_64_intdigest(raw[:-8]).to_bytes(8, "little")


def test_files_of_another_version_are_deleted(tmp_path, monkeypatch):
    thing = Thing(1, 30 * BLOCK)
    with monkeypatch.context() as patch:
        patch.setattr(slab_module, "VERSION", 1)
        with tier_of(tmp_path) as tier:
            thing.offer(tier)
            assert thing.read(tier).all()
    with tier_of(tmp_path) as tier:
        assert not thing.read(tier).any()
        assert used(tmp_path) == 0


def test_a_record_that_claims_another_object_is_not_believed(tmp_path):
    """Its header has a right checksum, and its data the digest it was written with."""
    thing, other = Thing(1, BLOCK), Thing(2, BLOCK)
    with tier_of(tmp_path / "a") as tier:
        thing.offer(tier)
        shutil.copytree(tmp_path / "a", tmp_path / "b")
    path = slabs(tmp_path / "b")[0]
    fields = list(HEADER.unpack(path.read_bytes()[: HEADER.size]))
    fields[3] = other.name
    path.write_bytes(stamped(HEADER.pack(*fields)) + path.read_bytes()[HEADER.size :])
    with tier_of(tmp_path / "b") as tier:
        assert other.known(tier).all()
        assert not other.read(tier).any()
        assert not thing.read(tier).any()
        assert tier.counters.damaged == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("start", 0xFFFFFFFF),
        ("length", 0xFFFFFFFF),
        ("length", 0),
        ("offset", (1 << 64) - BLOCK),
        ("offset", 1),
        ("start", 0),
        ("start", 10 * BLOCK),
        ("object", 1),
    ],
)
def test_an_index_that_lies_with_a_right_checksum_gives_no_wrong_bytes(tmp_path, field, value):
    thing = Thing(1, 5 * BLOCK)
    with tier_of(tmp_path) as tier:
        thing.offer(tier)
    path = slabs(tmp_path)[0]
    loaded = Slab.load(path, BLOCK)
    loaded.entries = loaded.entries.copy()
    loaded.entries[field][1] = value
    loaded._sealed = False
    loaded.seal()
    loaded.close()
    with tier_of(tmp_path) as tier:
        assert thing.read(tier).sum() in (0, 4)
        thing.offer(tier)
        assert thing.read(tier).all()
