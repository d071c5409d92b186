"""Tests of letting go of mapped pages: how much of a mapping is resident, and that nothing is lost."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mappings import resident
from quiver.model import mapped
from quiver.model.mapped import Behind, is_shared, release

PAGES = 4096
SIZE = PAGES * mmap.PAGESIZE

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="it takes Linux to look")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "bytes"
    found.write_bytes(bytes(range(256)) * (SIZE // 256))
    return found


def mapping(path: Path) -> np.ndarray[Any, Any]:
    with path.open("r+b") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), SIZE), np.uint8)


def test_what_was_let_go_of_counts_no_more_and_can_be_read_again(path: Path) -> None:
    array = mapping(path)
    array[::4096].max()
    assert resident(array) == SIZE
    release(array.data)
    assert resident(array) == 0
    assert array.tobytes() == path.read_bytes()


def test_only_pages_before_the_end_go_and_what_was_written_stays(path: Path) -> None:
    array = mapping(path)
    array[:] = 7
    release(array, 3 * mmap.PAGESIZE + 5, 10 * mmap.PAGESIZE + 5)
    assert resident(array) <= SIZE - 7 * mmap.PAGESIZE  # huge pages go whole
    release(array[PAGES // 2 * mmap.PAGESIZE :])
    assert resident(array) <= SIZE // 2 - 7 * mmap.PAGESIZE
    release(array, 0, 10 * SIZE)
    assert resident(array) == 0
    assert (array == 7).all()
    assert path.read_bytes() == b"\7" * SIZE


@pytest.mark.parametrize("data", [b"", b"abc", np.zeros(10_000), np.zeros(0)])
def test_nothing_happens_to_memory(data: Any) -> None:
    release(memoryview(data) if isinstance(data, bytes) else data)


def test_a_pass_leaves_little_behind_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = SIZE // 4
    monkeypatch.setattr(mapped, "STEP", step)
    array = mapping(path)
    release(array)
    behind, most = Behind(array), 0
    for end in range(SIZE // 32, SIZE + 1, SIZE // 32):
        array[end - SIZE // 32 : end : 4096].sum()
        behind.passed(end)
        most = max(most, resident(array))
    assert SIZE // 8 <= most <= step + (4 << 20)  # a huge page may be mapped ahead, and one stay behind
    behind.ended()
    assert resident(array) == 0


def test_a_pass_over_memory_is_just_a_pass() -> None:
    behind = Behind(np.zeros(100, np.uint8))
    behind.passed(50)
    behind.ended()


def test_changes_of_a_private_mapping_are_never_lost(path: Path) -> None:
    private = np.memmap(path, np.float32, "c")
    private[:] = 1.5
    assert not is_shared(private)
    release(private)
    release(np.asarray(private))
    assert (private == 1.5).all()


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_whose_mapping_is_shared(path: Path, mode: Any) -> None:
    matrix = np.memmap(path, np.float32, mode, shape=(SIZE // 40, 10))
    assert is_shared(matrix)
    assert is_shared(matrix[10:20])
    assert not is_shared(matrix[:, :5])
    assert not is_shared(matrix[:0])
    assert not is_shared(matrix != 0)
    assert not is_shared(np.ones(3))
