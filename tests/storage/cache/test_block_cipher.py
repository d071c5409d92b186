"""Tests of the disk tier with a cipher: what is given is right, what lies in the folder tells nothing."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xxhash

from quiver.storage.cache.block_cipher import KEY_BYTES, BlockCipher
from quiver.storage.cache.disk_tier import DiskTier
from storage.cache.kept import BLOCK, BUDGET, Thing, files, tier_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY, OTHER = bytes(range(KEY_BYTES)), bytes(range(1, KEY_BYTES + 1))
MARKER = b"plain as day "


@contextmanager
def encrypted(folder: Path, key: bytes = KEY) -> Iterator[DiskTier]:
    tier = DiskTier.open(folder, BUDGET, BlockCipher(key))
    try:
        yield tier
    finally:
        tier.close()


class Telling(Thing):
    """An object that repeats a marker."""

    def __init__(self, number: int, size: int) -> None:
        super().__init__(number, size)
        self.data = (MARKER * (size // len(MARKER) + 1))[:size]


def test_what_was_written_is_read_also_after_a_restart(tmp_path: Path) -> None:
    thing = Thing(1, 9 * BLOCK + 16)
    with encrypted(tmp_path) as tier:
        thing.offer(tier)
        assert thing.read(tier, np.array([9, 0, 3])).all()
    with encrypted(tmp_path) as tier:
        assert thing.read(tier).all()
        assert tier.counters.damaged == 0
        thing.drop(tier)
        assert not thing.read(tier).any()


def test_nothing_in_the_folder_is_plain_nor_names_the_object(tmp_path: Path) -> None:
    thing, same = Telling(1, 5 * BLOCK), Telling(2, 5 * BLOCK)
    with encrypted(tmp_path) as tier:
        thing.offer(tier)
        same.offer(tier)
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert len(kept) > 10 * BLOCK
    for secret in (MARKER[:4], thing.name, same.name, xxhash.xxh3_64_digest(thing.data[:BLOCK])):
        assert secret not in kept
        assert secret[::-1] not in kept
    bodies = {kept[at : at + 16] for at in range(0, len(kept), 16)}
    assert len(bodies) > 10 * BLOCK // 16 * 0.9, "equal blocks do not look equal"


def test_another_key_and_no_key_find_nothing(tmp_path: Path) -> None:
    thing = Thing(1, 5 * BLOCK)
    with encrypted(tmp_path) as tier:
        thing.offer(tier)
    for opening in (lambda: encrypted(tmp_path, OTHER), lambda: tier_of(tmp_path)):
        with opening() as tier:
            assert not thing.read(tier).any()
            assert tier.counters.damaged == 0
    with encrypted(tmp_path) as tier:
        assert thing.read(tier).all()


def test_a_tail_too_short_for_the_cipher_is_not_kept(tmp_path: Path) -> None:
    for size, kept in ((2 * BLOCK + 15, [True, True, False]), (2 * BLOCK + 16, [True] * 3), (3, [False])):
        thing = Thing(size, size)
        with encrypted(tmp_path) as tier:
            thing.offer(tier)
            assert thing.read(tier).tolist() == kept


def test_a_flipped_bit_on_the_disk_is_noticed(tmp_path: Path) -> None:
    thing = Thing(1, 3 * BLOCK)
    with encrypted(tmp_path) as tier:
        thing.offer(tier)
        with files(tmp_path)[0].open("r+b") as file:
            file.seek(BLOCK + BLOCK // 2)
            byte = file.read(1)
            file.seek(BLOCK + BLOCK // 2)
            file.write(bytes([byte[0] ^ 1]))
        assert thing.read(tier).tolist() == [False, True, True]
        assert tier.counters.damaged == 1


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="96"):
        BlockCipher(KEY[:-1])
