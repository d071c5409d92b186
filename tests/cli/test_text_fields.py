"""`quiver texts`: text fields listed with their state, added and deleted."""

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
        index = connection.create_bucket("demo").create_index("words", dimension=2, texts={"body": "standard"})
        index.put(["a", "b"], np.ones((2, 2)), [{"body": "sand", "title": "Deserts"}, {"body": "sea"}])
    return path


def invoke(root: str, *options: str) -> Result:
    return CliRunner().invoke(app, ("texts", "demo", "words", "--root", root, *options))


def listed(result: Result) -> list[list[str]]:
    """The table's cells, its heading left out."""
    assert result.exit_code == 0, result.output
    return [line.strip().split(maxsplit=2) for line in result.stdout.splitlines()[1:]]


def found(root: str, **texts: str) -> list[str]:
    with quiver.connect(root) as connection:
        return connection.bucket("demo").index("words").query(texts=texts).keys


def test_fields_are_listed_with_language_and_state(root: str) -> None:
    assert listed(invoke(root)) == [["body", "standard", "active"]]
    assert json.loads(invoke(root, "--json").stdout) == {
        "bucket": "demo",
        "index": "words",
        "texts": [{"key": "body", "language": "standard", "active": True}],
    }


def test_a_field_that_is_added_is_being_built_until_the_index_is_compacted(root: str) -> None:
    added = invoke(root, "--add", "title:en", "--add", "a:b:de")
    building = ["title", "en", "being built"], ["a:b", "de", "being built"]
    assert listed(added) == [["body", "standard", "active"], *building]
    assert listed(invoke(root)) == listed(added)
    assert CliRunner().invoke(app, ("compact", root)).exit_code == 0
    assert [state for _, _, state in listed(invoke(root))] == ["active"] * 3
    assert found(root, title="desert") == ["a"]


def test_deleting_comes_first_so_that_both_change_the_language(root: str) -> None:
    changed = invoke(root, "--add", "body:en", "--delete", "body")
    assert listed(changed) == [["body", "en", "being built"]]
    gone = invoke(root, "--delete", "body")
    assert (gone.exit_code, gone.stdout) == (0, "index demo/words has no text fields\n")
    assert json.loads(invoke(root, "--json").stdout)["texts"] == []


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--add", "body:xx"), 2, "'xx' is none of standard, en, fr"),
        (("--add", "title", "--add", "title:en"), 2, "'title' comes twice"),
        (("--add", "title", "--add", "body"), 1, "already"),
        (("--delete", "title"), 1, "'title' is not configured"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    root: str, options: tuple[str, ...], code: int, message: str
) -> None:
    refused = invoke(root, *options)
    assert (refused.exit_code, refused.stdout) == (code, "")
    assert message in refused.stderr
    assert "--add" in refused.stderr or code == 1
    assert listed(invoke(root)) == [["body", "standard", "active"]]
