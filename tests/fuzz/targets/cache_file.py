"""Files of the disk tier: what is read of one, and that no block of it is believed that was not written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import xxhash

from quiver.storage.cache.object_file import HEADER, ObjectFile
from quiver.storage.cache.view import BLOCK

_NAME = bytes(range(16))
_SIZE = 2 * BLOCK + 99
_BODY = np.random.default_rng(0).bytes(_SIZE)
_HEAD = 256
"""Bytes of a file that an input may state: header and checksums. Then an input says how many blocks follow."""
_FOLDER = tempfile.TemporaryDirectory()


def _path() -> Path:
    return Path(_FOLDER.name) / str(os.getpid())


def _seed() -> bytes:
    """The head of a file with three blocks."""
    _path().unlink(missing_ok=True)
    file = ObjectFile.create(_path(), _NAME, _SIZE)
    blocks = np.arange(3)
    file.write(blocks, [memoryview(_BODY)[block * BLOCK : (block + 1) * BLOCK] for block in blocks.tolist()])
    with _path().open("rb") as raw:
        return raw.read(_HEAD)


SEEDS = [_seed(), _seed()[: HEADER.size + 8] + bytes(16)]


def run(data: bytes) -> None:
    """The head of a file, the checksum of whose header is made to hold in every other one."""
    head = bytearray(data[:_HEAD].ljust(_HEAD, b"\0"))
    if len(data) % 2:
        head[HEADER.size - 8 : HEADER.size] = xxhash.xxh3_64_digest(bytes(head[: HEADER.size - 8]))[::-1]
    with _path().open("wb") as raw:
        raw.write(head)
        raw.seek(BLOCK)
        raw.write(_BODY)
    file = ObjectFile.load(_path())
    if file is None:
        return
    assert file.size == _SIZE, "the file is not as long as an object of another size has it"
    mapping = file.map()
    kept = np.flatnonzero(file.kept)
    assert file.readable(mapping, kept).all()
    right, sums = file.verified(kept, memoryview(mapping))
    for block in kept[right].tolist():
        assert file.name == _NAME
        assert mapping[block * BLOCK : (block + 1) * BLOCK] == _BODY[block * BLOCK : (block + 1) * BLOCK]
    assert len(sums) == len(kept)
