"""`quiver explain`: what it says of exact and of partitioned segments."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

import quiver
from cli.clustered_root import DIMENSION, ROWS, make_root
from quiver.cli.main import app

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_root(tmp_path_factory.mktemp("insight") / "data")


def test_a_query_of_a_partitioned_segment_is_explained(root: str) -> None:
    shown = invoke("explain", "demo", "coded", "--key", "k7", "--json", "--root", root)
    assert shown.exit_code == 0, shown.output
    answer = json.loads(shown.stdout)
    (work,) = answer["work"]
    assert (work["structure"], work["plan"], work["rows"], work["matches"]) == (
        "kmeans+rabitq",
        "probe",
        ROWS,
        ROWS,
    )
    assert 0 < work["probed"] < work["partitions"]
    assert 0 < work["codes"] < ROWS
    assert 10 <= work["vectors"] < ROWS
    assert answer["hits"] == 10
    assert answer["requests"] >= 1
    assert answer["recall"] == 0.98


def test_a_selective_filter_is_answered_exactly(root: str) -> None:
    filtered = ("--filter", '{"part": 3}')
    shown = invoke("explain", "demo", "coded", "--key", "k7", *filtered, "--json", "--root", root)
    (work,) = json.loads(shown.stdout)["work"]
    assert (work["plan"], work["matches"], work["vectors"], work["codes"]) == ("gather", 60, 60, 0)


def test_an_explanation_for_people_has_a_line_for_each_source(root: str) -> None:
    shown = invoke("explain", "demo", "small", "--vector", json.dumps([1.0] * DIMENSION), "--root", root)
    assert shown.exit_code == 0, shown.output
    assert re.search(r"^tail +rows +scan +50 +50 ", shown.stdout, re.MULTILINE)
    assert re.search(r"^10 hits at commit 1, recall target 0.98: ", shown.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("explain", "demo", "absent", "--key", "k1"), 1, "there is no index absent in a bucket demo"),
        (("explain", "demo", "small", "--key", "none"), 1, "there is no vector with the key none"),
        (("explain", "demo", "small"), 1, "--key"),
        (("explain", "demo", "small", "--vector", "[1"), 2, "not JSON"),
        (("explain", "demo", "small", "--vector", "[1, 2]"), 1, "invalid for this index"),
        (("explain", "demo", "small", "--vector", '{"a": 1}'), 1, "vector"),
        (("explain", "demo", "small", "--key", "k1", "--filter", '{"$and": 3}'), 1, "filter"),
    ],
)
def test_what_cannot_be_asked_is_refused(root: str, arguments: tuple[str, ...], code: int, message: str) -> None:
    refused = invoke(*arguments, "--root", root)
    assert refused.exit_code == code, refused.output
    assert message in refused.output
    assert "Traceback" not in refused.output


def test_a_query_of_words_is_explained(tmp_path: Path) -> None:
    root = str(tmp_path / "data")
    with quiver.connect(root) as connection:
        index = connection.create_bucket("demo").create_index("texts", dimension=2, texts={"body": "standard"})
        index.put(["a", "b"], [[1, 0], [0, 1]], [{"body": "red"}, {"body": "blue"}])
    words = invoke("explain", "demo", "texts", "--text", "body=red", "--json", "--root", root)
    assert words.exit_code == 0, words.output
    answer = json.loads(words.stdout)
    assert (answer["hits"], {work["plan"] for work in answer["work"]}) == (1, {"text"})
    both = invoke("explain", "demo", "texts", "--text", "body=red", "--key", "b", "--json", "--root", root)
    assert json.loads(both.stdout)["hits"] == 2
    unknown = invoke("explain", "demo", "texts", "--text", "title=red", "--root", root)
    assert unknown.exit_code == 1
    assert "'title' is not configured" in unknown.output
    assert invoke("explain", "demo", "texts", "--text", "red", "--root", root).exit_code == 2
