"""`quiver principals`, and serving with a file of them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from quiver.cli.credentials import Source, resolve
from quiver.cli.main import app
from quiver.server.principals_file import read_principals
from quiver.settings import Settings, SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

SECRET = "a-secret-of-a-sensible-length"
POLICIES = """[policies]
read = '{"Statement": [{"Effect": "Allow", "Action": "s3vectors:Get*", "Resource": "*"}]}'
"""


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("QUIVER_"):
            monkeypatch.delenv(name)


def quiver(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["principals", *arguments])


def private(file: Path, text: str) -> Path:
    file.write_text(text)
    file.chmod(0o600)
    return file


def test_what_new_prints_makes_a_file_that_check_reads(tmp_path: Path) -> None:
    made = [quiver("new", "operator", "--owner"), quiver("new", "ann", "--policy", "read"), quiver("new", "bob")]
    file = private(tmp_path / "principals.toml", POLICIES + "".join(each.stdout for each in made))
    found = read_principals(file, "000000000000")
    assert len({key.secret for key in found.keys}) == 3
    checked = quiver("check", str(file), "--json")
    assert checked.exit_code == 0
    assert json.loads(checked.stdout) == [
        {"arn": arn, "root": root, "keys": [key.key_id], "policies": policies}
        for (arn, root, policies), key in zip(
            [
                ("arn:aws:iam::000000000000:root", True, []),
                ("arn:aws:iam::000000000000:user/ann", False, ["read"]),
                ("arn:aws:iam::000000000000:user/bob", False, []),
            ],
            found.keys,
            strict=True,
        )
    ]
    shown = quiver("check", str(file)).stdout
    assert "user/ann" in shown
    assert not any(key.secret in shown + checked.stdout for key in found.keys)


def test_check_takes_the_file_of_the_settings_and_refuses_what_the_server_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert quiver("check").exit_code == 2
    file = private(tmp_path / "principals.toml", "[policies]\n")
    monkeypatch.setenv("QUIVER_CREDENTIALS_FILE", str(file))
    refused = quiver("check")
    assert refused.exit_code == 2
    assert "principals must be a list" in refused.stderr


def principal(key: str, secret: str) -> str:
    return f'[[principals]]\nname = "{key}"\nkeys = [{{id = "{key}", secret = "{secret}"}}]\n'


def test_a_file_of_principals_is_recognised_by_its_name(tmp_path: Path) -> None:
    file = private(tmp_path / "who.toml", principal("ONE", SECRET) + principal("TWO", SECRET))
    pair = resolve(Settings(root=str(tmp_path / "data"), credentials_file=str(file)))
    assert (pair.access_key_id, pair.source, pair.file) == ("ONE", Source.PRINCIPALS, file)
    with pytest.raises(SettingsError, match="cannot read"):
        resolve(Settings(root=str(tmp_path / "data"), credentials_file=str(tmp_path / "missing.toml")))


def test_no_key_of_the_file_may_be_weak_where_others_can_reach_the_server(tmp_path: Path) -> None:
    file = private(tmp_path / "who.toml", principal("ONE", SECRET) + principal("TWO", "short"))
    open_to_others = Settings(root=str(tmp_path / "data"), credentials_file=str(file), host="0.0.0.0")
    with pytest.raises(SettingsError, match="shorter than 16"):
        resolve(open_to_others)
    assert resolve(Settings(root=str(tmp_path / "data"), credentials_file=str(file))).access_key_id == "ONE"
