"""`quiver cost`: what it measures, and what it shows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

import quiver
from quiver.cli.main import app

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

ROWS, DIMENSION = 3_000, 16


def invoke(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("cost") / "data")
    vectors = np.random.default_rng(7).normal(size=(ROWS, DIMENSION)).astype(np.float32)
    keys = [f"k{number:04}" for number in range(ROWS)]
    with quiver.connect(path, flush_rows=1000, maintenance="inline") as db:
        bucket = db.create_bucket("demo")
        index = bucket.create_index("words", dimension=DIMENSION, non_filterable=["text"])
        for start in range(0, ROWS, 500):
            rows = slice(start, start + 500)
            index.put(keys[rows], vectors[rows], [{"n": 1, "text": "x" * 20}] * 500)
        index.delete(keys[:10])
        bucket.create_index("empty", dimension=2)
    return path


@pytest.fixture(scope="module")
def answer(root: str) -> dict[str, Any]:
    made = invoke("cost", "demo", "words", "--root", root, "--store", "s3-standard", "--json", "--batch", "50")
    assert made.exit_code == 0, made.output
    return json.loads(made.stdout)


def test_sizes_are_those_of_the_index(root: str, answer: dict[str, Any]) -> None:
    inspected = json.loads(invoke("inspect", root, "--json").stdout)["indexes"]
    (words,) = [index for index in inspected if index["name"] == "demo/words"]
    facts = answer["facts"]
    assert facts["stored"] == words["nbytes"]
    assert facts["vectors"] == ROWS - 10
    assert (facts["vector_bytes"], facts["key_bytes"]) == (4 * DIMENSION, 5)
    assert (facts["metadata_bytes"], facts["filterable_bytes"]) == (37, 7)
    assert facts["amplification"] == pytest.approx(max(1, words["written"] / words["accepted"]))


def test_operations_are_measured(answer: dict[str, Any]) -> None:
    operations = answer["operations"]
    cold, warm, put, upkeep = (operations[name] for name in ("cold_query", "warm_query", "put", "upkeep"))
    assert cold["gets"] + cold["lists"] > warm["gets"] + warm["lists"] >= 1
    assert cold["received"] > warm["received"]
    assert cold["puts"] == warm["puts"] == 0
    assert (put["puts"], put["gets"], put["lists"]) == (1, 2, 0), "as of an index that has a checkpoint"
    assert upkeep["puts"] >= 3, "a segment and a checkpoint"
    assert operations["entries"] == 512


def test_the_lines_add_up(answer: dict[str, Any]) -> None:
    for bill in (answer["store"], answer["s3Vectors"]):
        assert bill["usd"] == pytest.approx(sum(line["usd"] for line in bill["lines"]))
        assert bill["usd"] > 0
    assert answer["store"]["name"] == "s3-standard"
    assert answer["workload"] == {
        "queries": 1e6,
        "cold_share": 0.01,
        "top_k": 10,
        "writes": 1e5,
        "batch": 50,
    }


def test_measuring_leaves_the_store_as_it_is(root: str) -> None:
    before = invoke("inspect", root, "--json").stdout
    assert invoke("cost", "demo", "words", "--root", root).exit_code == 0
    assert invoke("inspect", root, "--json").stdout == before


def test_text_names_the_prices_and_the_totals(root: str, tmp_path: Path) -> None:
    made = invoke("cost", "demo", "words", "--root", root)
    assert made.exit_code == 0, made.output
    assert "own disks" in made.stdout
    assert "Amazon S3 Vectors, us-east-1 (prices of 2026-09)" in made.stdout
    assert made.stdout.count("total") == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("demo", "none"), 1, "there is no index none in a bucket demo"),
        (("demo", "empty"), 1, "the index demo/empty is empty: there is nothing to measure"),
        (("demo", "words", "--store", "attic"), 2, "there are no prices of 'attic'"),
        (("demo", "words", "--prices", "no-such-file.toml"), 2, "no-such-file.toml cannot be read"),
        (("demo", "words", "--cold-share", "1.5"), 2, ""),
        (("demo", "words", "--batch", "501"), 2, ""),
    ],
)
def test_what_cannot_be_estimated_is_said(root: str, arguments: tuple[str, ...], code: int, message: str) -> None:
    made = invoke("cost", *arguments, "--root", root)
    assert (made.exit_code, made.stdout) == (code, "")
    assert message in made.stderr
