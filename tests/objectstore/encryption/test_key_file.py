"""Tests of key files: what is written is read, and what is unfit is refused without being quoted."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest

from objectstore.encryption.sealing import new_keys
from quiver.objectstore.encryption.key_file import KeyFile, KeyFileError, key_id_of, read_key_file, write_key_file

if TYPE_CHECKING:
    from pathlib import Path

    from quiver.model.runtime import SystemRuntime


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_what_was_written_is_read_by_its_owner_only(path: Path, runtime: SystemRuntime) -> None:
    keys = new_keys(runtime, 3)
    write_key_file(path, keys, "a", replace=False)
    assert read_key_file(path) == keys
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["keys.json"]


def test_a_file_that_is_there_is_only_replaced_when_that_is_meant(path: Path, runtime: SystemRuntime) -> None:
    first, second = new_keys(runtime), new_keys(runtime)
    write_key_file(path, first, "a", replace=False)
    with pytest.raises(KeyFileError, match="exists"):
        write_key_file(path, second, "b", replace=False)
    assert read_key_file(path) == first
    write_key_file(path, second, "c", replace=True)
    assert read_key_file(path) == second
    assert [each.name for each in path.parent.iterdir()] == ["keys.json"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_a_file_that_is_open_to_others_is_refused(path: Path, runtime: SystemRuntime, mode: int) -> None:
    write_key_file(path, new_keys(runtime), "a", replace=False)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_key_file(path)


def test_an_absent_file_is_named(path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"keys\.json: No such file"):
        read_key_file(path)


SECRET = "c2VjcmV0" * 5 + "c2U="
ID = key_id_of("1" * 32)


@pytest.mark.parametrize(
    "content",
    [
        "",
        f'"{SECRET}"',
        {"version": 1, "current": ID},
        {"version": 1, "current": ID, "keys": {ID: SECRET[:-4]}},
        {"version": 1, "current": ID, "keys": {ID: SECRET + "c2Vj"}},
        {"version": 1, "current": ID, "keys": {"../x": SECRET}},
        {"version": 1, "current": key_id_of("2" * 32), "keys": {ID: SECRET}},
        {"version": 2, "current": ID, "keys": {ID: SECRET}},
        {"version": 1, "current": ID, "keys": {ID: SECRET}, "more": 1},
        {"version": 1, "current": ID, "keys": {ID: f"{SECRET}!"}},
        f'{{"version": 1, "keys": {{"\x9c": "{SECRET}"}}}}'.encode("latin-1"),
    ],
)
def test_what_is_no_key_file_is_refused_and_not_quoted(path: Path, content: object) -> None:
    path.touch(0o600)
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(KeyFileError) as caught:
        read_key_file(path)
    assert SECRET[:8] not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_current_key_cannot_be_removed_and_secrets_are_not_shown(runtime: SystemRuntime) -> None:
    keys = new_keys(runtime, 2)
    old = next(name for name in keys.keys if name != keys.current)
    assert keys.without_key(old) == KeyFile(keys.current, {keys.current: keys.keys[keys.current]})
    for name in (keys.current, key_id_of("3" * 32)):
        with pytest.raises(KeyFileError, match=name):
            keys.without_key(name)
    assert all(secret.hex() not in repr(keys) and str(secret) not in repr(keys) for secret in keys.keys.values())
