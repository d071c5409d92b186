"""Commands that read a root do not make one: a mistyped place must not look empty and sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from quiver.cli.main import app

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("demo", "words")
NEW_INDEX = ("--dimension", "3", "--metric", "cosine")


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", "ROOT"),
        ("fsck", "ROOT"),
        ("fsck", "ROOT", "--rebuild"),
        ("compact", "ROOT"),
        ("gc", "ROOT"),
        ("count", *NAMES, "--root", "ROOT"),
        ("explain", *NAMES, "--key", "k", "--root", "ROOT"),
        ("recall", *NAMES, "--root", "ROOT"),
        ("cost", *NAMES, "--root", "ROOT"),
        ("warm", *NAMES, "--root", "ROOT"),
        ("texts", *NAMES, "--root", "ROOT"),
        ("snapshot", "list", *NAMES, "--root", "ROOT"),
        ("create-index", *NAMES, *NEW_INDEX, "--root", "ROOT"),
    ],
    ids=" ".join,
)
def test_a_place_without_a_root_is_refused_and_left_alone(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    root = tmp_path / "typo"
    made = CliRunner().invoke(app, [str(root) if word == "ROOT" else word for word in arguments])
    told = f"file://{root} holds no Quiver root; `quiver serve` or `quiver create-bucket` would make one there"
    assert (made.exit_code, made.stdout, made.stderr) == (1, "", f"quiver: {told}\n")
    assert not root.exists()


def test_a_root_in_memory_is_always_there() -> None:
    made = CliRunner().invoke(app, ["inspect", "memory:"])
    assert (made.exit_code, made.stdout) == (0, "0 indexes, 0 bytes\n")
