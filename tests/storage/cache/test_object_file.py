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

from quiver.storage.cache import object_file
from quiver.storage.cache.object_file import HEADER, PAGE, ObjectFile
from storage.cache.kept import BLOCK, BUDGET, Thing, files, tier_of, used


def flip(path: Path, at: int, bit: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ (1 << bit)]))


# -------------------------------------------------------------------- one file
def written(path: Path, thing: Thing, blocks: list[int]) -> ObjectFile:
    """A file that keeps blocks of an object."""
    file = ObjectFile.create(path, thing.name, len(thing.data))
    chosen = np.array(blocks)
    file.write(chosen, [memoryview(thing.data)[block * BLOCK : (block + 1) * BLOCK] for block in blocks])
    file.kept[chosen] = True
    return file


def test_it_takes_the_room_of_the_blocks_in_it(tmp_path):
    thing = Thing(1, 1000 * BLOCK + 5)
    file = written(tmp_path / "file", thing, [0, 3, 4, 1000])
    room = file.overhead + int(file.sizes(np.array([0, 3, 4, 1000])).sum())
    assert room == file.overhead + 3 * BLOCK + PAGE
    assert 3 * BLOCK < used(tmp_path) <= room
    gone = file.release(np.array([3, 1000]), horizon=1)
    file.erase(gone)
    assert 2 * BLOCK < used(tmp_path) <= room - BLOCK - PAGE
    again = ObjectFile.load(tmp_path / "file")
    assert np.flatnonzero(again.kept).tolist() == [0, 4]


def test_a_mapping_shows_what_was_written_below_what_is_held_in_memory(tmp_path):
    thing = Thing(1, 4 * BLOCK)
    file = written(tmp_path / "file", thing, [0])
    mapping = file.map()
    mapping[BLOCK : BLOCK + 4] = b"mine"
    assert bytes(mapping[:BLOCK]) == thing.data[:BLOCK]
    file.write(np.array([1, 3]), [memoryview(thing.data)[BLOCK : 2 * BLOCK], memoryview(thing.data)[3 * BLOCK :]])
    assert mapping[BLOCK : BLOCK + 4] == b"mine"
    file.erase(np.array([1]))
    assert mapping[BLOCK : BLOCK + 4] == b"mine", "a hole in the file does not reach it"
    assert bytes(mapping[3 * BLOCK :]) == thing.data[3 * BLOCK :]


def test_what_is_in_use_is_not_released(tmp_path):
    thing = Thing(1, 4 * BLOCK)
    file = written(tmp_path / "file", thing, [0, 1, 2])
    file.here = np.array([True, True, False, False])
    file.used[:] = [5, 2, 5, 0]
    assert file.release(np.array([0, 1, 2]), horizon=5).tolist() == [1]
    assert file.here.tolist() == [True, False, False, False]
    assert file.kept.tolist() == [True, False, True, False]


def test_what_a_crash_left_beside_the_blocks_is_given_back(tmp_path):
    """Blocks were written, their checksums were not."""
    thing = Thing(1, 20 * BLOCK)
    written(tmp_path / "file", thing, [1, 7, 8])
    with (tmp_path / "file").open("r+b") as raw:
        raw.seek(HEADER.size + 8 * 7)
        raw.write(bytes(8))
        raw.seek(BLOCK + 15 * BLOCK)
        raw.write(thing.data[:BLOCK])
    assert used(tmp_path) > 4 * BLOCK
    again = ObjectFile.load(tmp_path / "file")
    assert np.flatnonzero(again.kept).tolist() == [1, 8]
    assert used(tmp_path) <= again.overhead + 2 * BLOCK


def test_right_bytes_in_the_wrong_place_are_wrong(tmp_path):
    thing, other = Thing(1, 4 * BLOCK), Thing(2, 4 * BLOCK)
    file, stranger = written(tmp_path / "a", thing, [0, 1]), written(tmp_path / "b", other, [0])
    one, _ = file.verified(np.array([0, 1]), memoryview(thing.data))
    assert one.all()
    moved = thing.data[BLOCK : 2 * BLOCK] + thing.data[:BLOCK]
    assert not file.verified(np.array([0, 1]), memoryview(moved))[0].any()
    file._sums[0] = stranger._sums[0]
    assert not file.verified(np.array([0]), memoryview(other.data))[0].any()


def test_blocks_that_the_disk_does_not_give_are_told_and_not_looked_at(tmp_path):
    """To touch what lies behind the end of a file would end the process."""
    thing = Thing(1, 8 * BLOCK)
    file = written(tmp_path / "file", thing, [0, 1, 5, 6])
    mapping = file.map()
    os.truncate(tmp_path / "file", BLOCK + 6 * BLOCK)
    assert file.readable(mapping, np.array([0, 1, 5, 6])).tolist() == [True, True, False, False]
    assert file.readable(mapping, np.array([1, 5])).tolist() == [True, True]


def test_on_systems_that_cannot_tell_blocks_are_read_to_know(tmp_path, monkeypatch):
    thing = Thing(1, 8 * BLOCK)
    file = written(tmp_path / "file", thing, [0, 6])
    mapping = file.map()
    monkeypatch.setattr(object_file, "_POPULATE_READ", 12345)
    assert file.readable(mapping, np.array([0, 6])).tolist() == [True, True]
    os.truncate(tmp_path / "file", BLOCK + 6 * BLOCK)
    assert file.readable(mapping, np.array([0, 6])).tolist() == [True, False]


# -------------------------------------------------------------------- in a tier
def test_a_damaged_block_is_dropped_and_taken_again(tmp_path):
    thing = Thing(1, 5 * BLOCK)
    with tier_of(tmp_path) as tier:
        thing.offer(tier)
        flip(files(tmp_path)[0], BLOCK + 2 * BLOCK + 100)
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

    first, second = Thing(1, 5 * BLOCK), Thing(2, 40 * BLOCK)
    with tier_of(tmp_path) as tier:
        first.offer(tier)
        with monkeypatch.context() as patch:
            patch.setattr(object_file.os, "pwrite", failing)
            second.offer(tier, second.blocks[:20])
            tried = len(calls)
            assert tier.counters.failures == 1
            for _ in range(7):
                second.offer(tier)
            assert len(calls) == tried
            assert first.read(tier).all()
        assert not second.read(tier).any()
        second.offer(tier)  # more than 256 were refused: the pause is over
        assert second.read(tier).all()
        assert used(tmp_path) <= tier.counters.nbytes


def test_a_disk_that_becomes_full_within_a_write_keeps_what_was_there(tmp_path):
    """The kernel takes some of the bytes only: then none of the batch are kept, and their room is given back."""
    thing = Thing(1, 30 * BLOCK)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with tier_of(tmp_path) as tier:
        thing.offer(tier, thing.blocks[:3])
        before = used(tmp_path)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10 * BLOCK + 77, hard))
        try:
            thing.offer(tier)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert tier.counters.failures == 1
        assert thing.read(tier).sum() == 3
        assert used(tmp_path) == before
        while not thing.read(tier).all():
            thing.offer(tier)
    with tier_of(tmp_path) as tier:
        assert thing.read(tier).all()
        assert tier.counters.damaged == 0


def test_a_folder_that_disappears_is_survived(tmp_path):
    things = [Thing(number, 5 * BLOCK) for number in range(20)]
    with tier_of(tmp_path / "cache") as tier:
        things[0].offer(tier)
        shutil.rmtree(tmp_path / "cache")
        for thing in things:
            thing.offer(tier)
            thing.offer(tier)
            thing.read(tier)
        assert tier.counters.failures > 0


SIZES = [BLOCK * 5 + 7, 3, BLOCK * 9]


@pytest.fixture(scope="module")
def filled():
    """A folder with several files, and what is in it."""
    with tempfile.TemporaryDirectory() as folder:
        things = [Thing(number, size) for number, size in enumerate(SIZES)]
        with tier_of(Path(folder) / "live") as tier:
            for thing in things:
                thing.offer(tier)
        yield Path(folder) / "live", things


DAMAGE = st.lists(
    st.tuples(
        st.sampled_from(["flip", "truncate", "swap", "zero", "graft", "grow", "delete"]),
        st.floats(0, 1, exclude_max=True),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 7),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


def damage(paths: list[Path], how: str, where: float, at: float, bit: int, early: bool) -> None:
    """In place, as a disk does it; `early` in the header and the checksums."""
    path, other = paths[int(where * len(paths))], paths[int(at * len(paths))]
    if not (path.exists() and other.exists()):
        return
    data, graft = bytearray(path.read_bytes()), other.read_bytes()
    place = int(at * (HEADER.size + 80 if early else len(data)))
    length = 16 if early else 700
    if how == "flip" and place < len(data):
        data[place] ^= 1 << bit
    elif how == "truncate":
        del data[place:]
    elif how == "swap":
        other.write_bytes(data)
        data = bytearray(graft)
    elif how == "zero":
        data[place : place + length] = bytes(len(data[place : place + length]))
    elif how == "graft":  # a piece of one file in another
        data[place : place + length] = graft[place : place + length]
    elif how == "grow":
        data += data[place:]
    path.write_bytes(data)
    if how == "delete":
        path.unlink()


@given(damages=DAMAGE, while_open=st.booleans())
@settings(max_examples=60)
def test_damaged_files_never_give_wrong_bytes(filled, damages, while_open):
    left, things = filled
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "cache"
        shutil.copytree(left, folder)
        paths = files(folder)
        if not while_open:
            for each in damages:
                damage(paths, *each)
        with tier_of(folder) as tier:
            if while_open:
                for each in damages:
                    damage(paths, *each)
            for thing in things:
                here = thing.read(tier)  # which checks the bytes
                assert thing.known(tier).tolist() == here.tolist()
                if not while_open:
                    thing.offer(tier)
                    assert thing.read(tier).all()
        with tier_of(folder) as tier:
            for thing in things:
                thing.read(tier)
            assert used(folder) <= BUDGET


def test_files_of_another_version_are_deleted(tmp_path, monkeypatch):
    thing = Thing(1, 10 * BLOCK)
    with monkeypatch.context() as patch:
        patch.setattr(object_file, "VERSION", 2)
        with tier_of(tmp_path) as tier:
            thing.offer(tier)
            assert thing.read(tier).all()
    with tier_of(tmp_path) as tier:
        assert files(tmp_path) == []
        assert not thing.read(tier).any()


@pytest.mark.parametrize("lie", ["another object", "another size", "a huge size", "size 0"])
def test_a_header_that_lies_with_a_right_checksum_is_not_believed(tmp_path, lie):
    thing, other = Thing(1, 3 * BLOCK), Thing(2, 3 * BLOCK)
    with tier_of(tmp_path) as tier:
        thing.offer(tier)
    path = files(tmp_path)[0]
    name = other.name if lie == "another object" else thing.name
    size = {"another size": 3 * BLOCK - 1, "a huge size": 1 << 62, "size 0": 0}.get(lie, 3 * BLOCK)
    path.write_bytes(object_file._header(name, size) + path.read_bytes()[HEADER.size :])
    with tier_of(tmp_path) as tier:
        assert files(tmp_path) == []
        assert not thing.read(tier).any()
        assert not other.read(tier).any()


def test_checksums_that_claim_blocks_that_are_not_there_are_not_believed(tmp_path):
    thing = Thing(1, 5 * BLOCK)
    with tier_of(tmp_path) as tier:
        thing.offer(tier, thing.blocks[:2])
    with files(tmp_path)[0].open("r+b") as raw:
        raw.seek(HEADER.size + 16)
        raw.write(b"\1" * 24)
    with tier_of(tmp_path) as tier:
        assert thing.known(tier).all()
        assert thing.read(tier).tolist() == [True, True, False, False, False]
        assert tier.counters.damaged == 3
