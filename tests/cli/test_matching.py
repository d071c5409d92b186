"""`quiver count` and `delete`: what they say, and what is left."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

import quiver
from quiver.cli.main import app

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result


@pytest.fixture
def root(tmp_path: Path) -> str:
    path = str(tmp_path / "data")
    with quiver.connect(path) as connection:
        index = connection.create_bucket("demo").create_index("words", dimension=4)
        index.put([f"k{n}" for n in range(50)], np.ones((50, 4)), [{"odd": n % 2 == 1} for n in range(50)])
    return path


def invoke(command: str, root: str, *options: str) -> Result:
    return CliRunner().invoke(app, (command, "demo", "words", "--root", root, *options))


def test_vectors_are_counted(root: str) -> None:
    made = invoke("count", root)
    assert (made.exit_code, made.stdout) == (0, "50\n")
    assert invoke("count", root, "--filter", '{"odd": true}').stdout == "25\n"
    shown = invoke("count", root, "--filter", '{"odd": 1}', "--json").stdout
    assert json.loads(shown) == {"bucket": "demo", "index": "words", "count": 0}


def test_what_matches_is_deleted_after_a_dry_run(root: str) -> None:
    given = ("--filter", '{"odd": true}')
    dry = invoke("delete", root, *given, "--dry-run")
    assert (dry.exit_code, dry.stdout) == (0, "25 vectors of demo/words match; none was deleted\n")
    assert invoke("count", root).stdout == "50\n"
    assert invoke("delete", root, *given).stdout == "25 vectors of demo/words deleted\n"
    assert invoke("count", root).stdout == "25\n"
    shown = json.loads(invoke("delete", root, *given, "--json").stdout)
    assert (shown["matchingCount"], shown["deletedCount"], shown["dryRun"]) == (0, 0, False)


def test_wrong_usage_deletes_nothing(root: str) -> None:
    assert invoke("delete", root).exit_code == 2
    assert invoke("delete", root, "--filter", "{odd").exit_code == 2
    refused = invoke("delete", root, "--filter", "{}")
    assert refused.exit_code == 1
    assert "Invalid filter" in refused.stderr
    assert invoke("count", root).stdout == "50\n"
    assert invoke("count", root, "--filter", "{}").exit_code == 1


def test_the_lenient_mode_holds_for_commands_too(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ("--filter", '{"odd": true, "none": {"$exists": false}}')
    assert invoke("count", root, *given).exit_code == 1
    monkeypatch.setenv("QUIVER_LENIENT", "filters")
    assert invoke("count", root, *given).stdout == "25\n"
    monkeypatch.setenv("QUIVER_LENIENT", "everything")
    assert invoke("count", root, *given).exit_code == 2
