"""`quiver warm`: what it leaves on disk, and what it says where nothing is cached."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

import quiver
from distant import DistantDirectory
from quiver import assemble
from quiver.cli.main import app

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result


@pytest.fixture
def root(tmp_path: Path) -> str:
    path = str(tmp_path / "data")
    with quiver.connect(path) as connection:
        index = connection.create_bucket("demo").create_index("words", dimension=4)
        index.put([f"k{n}" for n in range(50)], np.ones((50, 4), np.float32))
    assert CliRunner().invoke(app, ["compact", path]).exit_code == 0
    return path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ("warm", *arguments))


def test_a_directory_needs_no_warming(root: str) -> None:
    plain = invoke("demo", "words", "--root", root)
    assert (plain.exit_code, plain.stdout) == (0, f"nothing to do: {root} is at hand and needs no caches\n")
    shown = json.loads(invoke("demo", "words", "--all", "--json", "--root", root).stdout)
    assert shown == {"root": root, "bucket": "demo", "index": "words", "cached": False}


def test_the_next_process_finds_it_on_disk(root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assemble, "LocalStore", DistantDirectory)
    monkeypatch.setenv("QUIVER_CACHE_FOLDER", str(tmp_path / "cache"))
    first = json.loads(invoke("demo", "words", "--all", "--json", "--root", root).stdout)
    assert (first["cached"], first["segments"], first["requests"]) == (True, 1, 1)
    assert first["disk_bytes"] > first["nbytes"] == first["fetched_bytes"] > 0
    again = json.loads(invoke("demo", "words", "--json", "--root", root).stdout)
    assert (again["requests"], again["nbytes"]) == (0, first["nbytes"])
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["0"]
    text = invoke("demo", "words", "--root", root)
    assert (
        f"1 segments, {first['nbytes']:,} bytes of their indexes; 0 bytes fetched with 0 requests" in text.stdout
    )
    assert f"The disk cache in {tmp_path / 'cache'} has " in text.stdout


def test_without_a_folder_it_says_that_nothing_lasts(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assemble, "LocalStore", DistantDirectory)
    monkeypatch.delenv("QUIVER_CACHE_FOLDER", raising=False)
    said = invoke("demo", "words", "--root", root)
    assert said.exit_code == 0
    assert "QUIVER_CACHE_FOLDER is not set" in said.stderr
    assert json.loads(invoke("demo", "words", "--json", "--root", root).stdout)["disk_bytes"] is None


def test_an_index_that_does_not_exist_is_a_problem(root: str) -> None:
    assert invoke("demo", "nothing", "--root", root).exit_code == 1
