"""`quiver snapshot` and `quiver clone`: what they print, do and refuse."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

import quiver
from quiver.cli.main import app

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.chdir(tmp_path)
    for name in ("QUIVER_ROOT", "QUIVER_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    root = str(tmp_path / "data")
    with quiver.connect(root) as db:
        db.create_bucket("demo").create_index("words", dimension=2).put(["a", "b"], [[1, 0], [2, 0]])
    return root


def invoke(root: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--root", root])


def keys(root: str, name: str) -> list[str]:
    with quiver.connect(root) as db:
        return sorted(db.bucket("demo").index(name))


def delete(root: str, *gone: str) -> None:
    with quiver.connect(root) as db:
        db.bucket("demo").index("words").delete(list(gone))


def test_a_snapshot_is_created_shown_cloned_and_deleted(root: str) -> None:
    made = invoke(root, "snapshot", "create", "demo", "words", "one")
    assert (made.exit_code, made.stdout) == (0, "snapshot demo/words@one: 2 vectors as of commit 1\n")
    delete(root, "a")
    shown = invoke(root, "snapshot", "list", "demo", "words")
    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[1].split()[::2][:2] == ["one", "1"]
    cloned = invoke(root, "clone", "demo", "words@one", "demo", "old")
    assert cloned.exit_code == 0
    text = r"index demo/old created: 2 vectors, [1-9][\d,]+ bytes shared with demo/words\n"
    assert re.fullmatch(text, cloned.stdout)
    assert invoke(root, "clone", "demo", "words", "demo", "copy").exit_code == 0
    assert (keys(root, "old"), keys(root, "copy")) == (["a", "b"], ["b"])
    gone = invoke(root, "snapshot", "delete", "demo", "words", "one")
    assert (gone.exit_code, gone.stdout) == (0, "snapshot demo/words@one deleted\n")
    assert invoke(root, "snapshot", "list", "demo", "words").stdout == "no snapshots\n"


def test_the_same_as_json(root: str) -> None:
    place = {"root": root, "bucket": "demo", "index": "words"}
    made = json.loads(invoke(root, "snapshot", "create", "demo", "words", "one", "--json").stdout)
    described = {key: made.pop(key) for key in ("snapshot", "created", "commit", "vectors", "nbytes")}
    assert made == place
    assert (described["snapshot"], described["commit"], described["vectors"]) == ("one", 1, 2)
    shown = json.loads(invoke(root, "snapshot", "list", "demo", "words", "--json").stdout)
    assert shown == place | {"snapshots": [described]}
    cloned = json.loads(invoke(root, "clone", "demo", "words", "demo", "copy", "--json").stdout)
    assert cloned == place | {"index": "copy", "vectors": 2, "commit": 1}
    gone = json.loads(invoke(root, "snapshot", "delete", "demo", "words", "one", "--json").stdout)
    assert gone == place | {"snapshot": "one"}


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("snapshot", "delete", "demo", "words", "unknown"), 1, "The specified snapshot could not be found"),
        (("snapshot", "create", "demo", "unknown", "one"), 1, "The specified index could not be found"),
        (("snapshot", "create", "demo", "words", "s1"), 1, "Invalid snapshot name: 3 to 63 lower-case letters"),
        (("clone", "demo", "words@unknown", "demo", "copy"), 1, "The specified snapshot could not be found"),
        (("clone", "demo", "words", "demo", "words"), 1, "already exists"),
        (("clone", "demo", "words@", "demo", "copy"), 2, "the name of the snapshot is missing"),
        (("snapshot", "create", "demo", "words"), 2, "Missing argument"),
        (("snapshot", "restore", "demo", "words", "one"), 2, "No such command"),
    ],
)
def test_what_is_refused_is_said(root: str, arguments: tuple[str, ...], code: int, text: str) -> None:
    result = invoke(root, *arguments)
    assert result.exit_code == code
    assert text in result.output


@pytest.mark.parametrize("command", [("snapshot",), ("snapshot", "create"), ("snapshot", "list"), ("clone",)])
def test_every_command_explains_itself(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert len(result.output) > 300
