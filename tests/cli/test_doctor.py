"""`quiver doctor` on remote roots: the commit table it makes when told to, and the probe through it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from objectstore.conftest import AWS_KEYS, BUCKET, Moto, fresh_path, moto  # noqa: F401 - fixtures
from quiver.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    for variable, value in (AWS_KEYS | {"AWS_REGION": "us-east-1"}).items():
        monkeypatch.setenv(variable, value)
    return lambda *arguments: CliRunner().invoke(app, ["doctor", *arguments])


@pytest.mark.slow
@pytest.mark.soak
def test_a_commit_store_is_made_on_request_and_probed(
    doctor: Callable[..., Any],
    moto: Moto,  # noqa: F811
    fresh_path: Any,  # noqa: F811
) -> None:
    endpoints = f"endpoint={moto.endpoint}&commit_endpoint={moto.endpoint}"
    root = f"s3://{BUCKET}/{fresh_path()}?{endpoints}&commit=dynamodb://made-by-doctor"
    result = doctor(root, "--create-table", "--rounds", "2", "--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["ok"]) == (0, True), report
    assert report["url"] == root.partition("?")[0]


@pytest.mark.parametrize("root", ["memory:", "./directory", "s3://bucket/prefix"])
def test_a_table_is_made_only_for_roots_that_name_one(doctor: Callable[..., Any], root: str) -> None:
    result = doctor(root, "--create-table")
    assert result.exit_code == 2
    assert "commit=dynamodb://table" in result.stderr


def test_a_wrong_option_is_named_and_its_value_is_not(doctor: Callable[..., Any]) -> None:
    result = doctor("s3://bucket/prefix?secret_key=hidden")
    assert result.exit_code == 2
    assert "option secret_key" in result.stderr
    assert "hidden" not in result.output
