"""`quiver create-bucket` and `create-index`: what they create, and what they refuse."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

import quiver
from quiver.cli.main import app
from quiver.cli.opening import opened
from quiver.model.types import DistanceMetric, IndexSpec, TextField

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

CREATE = ("create-index", "demo", "words", "--dimension", "3", "--metric", "euclidean")


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.chdir(tmp_path)
    for name in ("QUIVER_ROOT", "QUIVER_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    return str(tmp_path / "data")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def specs(root: str) -> dict[str, IndexSpec]:
    async def read() -> dict[str, IndexSpec]:
        async with opened(root) as open_root:
            return {
                f"{index.bucket}/{index.name}": index.spec for index in await open_root.administration.indexes()
            }

    return asyncio.run(read())


def test_a_bucket_and_an_index_are_created_and_work(root: str) -> None:
    made = invoke("create-bucket", "demo", "--root", root)
    assert (made.exit_code, made.stdout) == (0, "bucket demo created\n")
    made = invoke(*CREATE, "--root", root)
    assert (made.exit_code, made.stdout) == (0, "index demo/words created\n")
    assert specs(root) == {"demo/words": IndexSpec(3, DistanceMetric.EUCLIDEAN)}
    with quiver.client(root) as client:
        arn = client.get_index(vectorBucketName="demo", indexName="words")["index"]["indexArn"]
        assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {}
    with quiver.connect(root) as db:
        index = db.bucket("demo").index("words")
        index.put(["a"], [[1, 2, 3]])
        assert index.query([1, 2, 3]).keys == ["a"]


def test_the_structure_and_the_non_filterable_keys_are_as_chosen(root: str) -> None:
    invoke("create-bucket", "demo", "--root", root)
    chosen = ("--partitioner", "kdtree", "--codec", "lsh", "--recall", "0.9")
    made = invoke(*CREATE, *chosen, "--non-filterable", "text", "--non-filterable", "node", "--root", root)
    assert made.exit_code == 0, made.output
    assert specs(root) == {
        "demo/words": IndexSpec(3, DistanceMetric.EUCLIDEAN, ("text", "node"), "kdtree", "lsh", 0.9)
    }


def test_the_root_comes_from_the_environment_when_it_is_not_given(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUIVER_ROOT", root)
    assert json.loads(invoke("create-bucket", "demo", "--json").stdout) == {"root": root, "bucket": "demo"}
    assert json.loads(invoke(*CREATE, "--json").stdout) == {"root": root, "bucket": "demo", "index": "words"}
    assert list(specs(root)) == ["demo/words"]


@pytest.mark.parametrize(
    "wrong",
    [
        ("--codec", "RABITQ"),
        ("--partitioner", "tree"),
        ("--recall", "0.4"),
        ("--recall", "1.1"),
        ("--recall", "nan"),
        ("--recall", "x"),
        ("--metric", "dot"),
        ("--dimension", "0"),
    ],
)
def test_wrong_options_are_exit_code_2_and_nothing_is_created(root: str, wrong: tuple[str, str]) -> None:
    invoke("create-bucket", "demo", "--root", root)
    result = invoke(*CREATE, *wrong, "--root", root)
    assert (result.exit_code, result.stdout) == (2, "")
    assert wrong[0] in result.stderr
    assert specs(root) == {}


@pytest.mark.parametrize("missing", ["--dimension", "--metric"])
def test_dimension_and_metric_must_be_said(root: str, missing: str) -> None:
    at = CREATE.index(missing)
    result = invoke(*CREATE[:at], *CREATE[at + 2 :], "--root", root)
    assert result.exit_code == 2
    assert missing in result.stderr


def test_what_the_service_refuses_is_exit_code_1_and_one_line(root: str) -> None:
    invoke("create-bucket", "demo", "--root", root)
    invoke(*CREATE, "--root", root)
    for arguments, message in (
        (("create-bucket", "demo"), "A vector bucket with the specified name already exists"),
        (("create-bucket", "Demo"), "Invalid vector bucket name"),
        (CREATE, "An index with the specified name already exists"),
        (("create-index", "nope", *CREATE[2:]), "The specified vector bucket could not be found"),
    ):
        result = invoke(*arguments, "--root", root)
        assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"quiver: {message}\n")


def test_texts_are_chosen_with_their_languages(root: str) -> None:
    assert invoke("create-bucket", "demo", "--root", root).exit_code == 0
    made = invoke(*CREATE, "--text", "body", "--text", "a:b:en", "--text", "c:standard", "--root", root)
    assert made.exit_code == 0, made.output
    texts = (TextField("body"), TextField("a:b", "en"), TextField("c"))
    assert specs(root) == {"demo/words": IndexSpec(3, DistanceMetric.EUCLIDEAN, texts=texts)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--text", "body:xx"), "'xx' is none of standard, en, fr"),
        (("--text", "a", "--text", "a:en"), "'a' comes twice"),
    ],
)
def test_texts_that_cannot_be_are_refused(root: str, options: tuple[str, ...], message: str) -> None:
    refused = invoke(*CREATE, *options, "--root", root)
    assert refused.exit_code == 2
    assert message in " ".join(refused.output.split())
