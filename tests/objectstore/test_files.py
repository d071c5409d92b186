"""What is asked of files in C: the answers, what is no answer, and that nothing stays open."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from quiver.objectstore import _files


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_what_has_a_name_is_not_absent(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "\udcff").write_bytes(b"1")
    for name in ("file", ".", "dangling", "\udcff"):
        assert not _files.is_absent(f"{tmp_path}/{name}")
    for name in ("other", "other/below", "file/below"):
        assert _files.is_absent(f"{tmp_path}/{name}")


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 5000])
def test_a_file_begins_with_its_first_bytes_and_no_others(tmp_path: Path, size: int) -> None:
    path, body = tmp_path / "file", os.urandom(size)
    path.write_bytes(body)
    before = open_files()
    for length in {0, size // 2, size}:
        assert _files.begins_with(str(path), body[:length])
        assert _files.begins_with(str(path), memoryview(body)[:length])
    for place in {0, size // 2, size - 1} if size else ():
        other = bytearray(body)
        other[place] ^= 1
        assert not _files.begins_with(str(path), other)
    assert not _files.begins_with(str(path), body + b"\0")
    assert open_files() == before


def test_what_is_no_file_begins_with_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"1")
    before = open_files()
    for name in ("", "other", "file/below"):
        assert not _files.begins_with(f"{tmp_path}/{name}", b"1")
    with pytest.raises(OSError, match="pipe"):
        _files.begins_with(f"{tmp_path}/pipe", b"1")
    assert open_files() == before


def test_what_could_not_be_found_out_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(OSError, match="link") as caught:
        _files.begins_with(f"{tmp_path}/link", b"1")
    assert caught.value.errno == errno.ELOOP
    for ask in (_files.is_absent, lambda path: _files.begins_with(path, b"1")):
        for name in (300 * "n", "link/below"):
            with pytest.raises(OSError, match=name) as caught:
                ask(f"{tmp_path}/{name}")
            assert caught.value.errno in (errno.ENAMETOOLONG, errno.ELOOP)
            assert caught.value.filename == f"{tmp_path}/{name}"
        for wrong in (None, 3, "a\0b"):
            with pytest.raises((TypeError, ValueError)):
                ask(wrong)
    with pytest.raises(TypeError):
        _files.begins_with(str(tmp_path))
    with pytest.raises(TypeError):
        _files.begins_with(str(tmp_path), "text")
