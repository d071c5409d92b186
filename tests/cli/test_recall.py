"""`quiver recall`: with rows of the index, and with the user's own queries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import quiver
from cli.clustered_root import DIMENSION, SPREAD, centres, make_root
from quiver.cli.main import app
from quiver.engine.native.recall import wilson

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from typer.testing import Result


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["recall", *arguments])


def measured(*arguments: str) -> dict[str, Any]:
    shown = invoke(*arguments, "--json")
    assert shown.exit_code == 0, shown.output
    report: dict[str, Any] = json.loads(shown.stdout)
    return report


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_root(tmp_path_factory.mktemp("recall") / "data", recall=0.5)


@pytest.fixture(scope="module")
def queries() -> NDArray[np.float32]:
    """Unlike the rows: between their centres."""
    rng = np.random.default_rng(8)
    between = (centres()[rng.integers(0, 40, 30)] + centres()[rng.integers(0, 40, 30)]) / 2
    return (between + SPREAD * rng.normal(size=(30, DIMENSION))).astype(np.float32)


def _numpy(path: Path, queries: NDArray[np.float32]) -> Path:
    np.save(path / "queries.npy", queries)
    return path / "queries.npy"


def _table(queries: NDArray[np.float32]) -> pa.Table:
    return pa.table({"question": ["why?"] * len(queries), "vector": queries.tolist()})


def _parquet(path: Path, queries: NDArray[np.float32]) -> Path:
    pq.write_table(_table(queries), path / "queries.parquet")
    return path / "queries.parquet"


def _arrow(path: Path, queries: NDArray[np.float32]) -> Path:
    table = _table(queries)
    with pa.ipc.new_file(str(path / "queries.arrow"), table.schema) as writer:
        writer.write_table(table)
    return path / "queries.arrow"


def _json_lines(path: Path, queries: NDArray[np.float32]) -> Path:
    lines = [json.dumps({"question": "why?", "vector": vector}) for vector in queries.tolist()]
    (path / "queries.jsonl").write_text("\n".join(lines))
    return path / "queries.jsonl"


def test_recall_is_measured_with_its_interval(root: str) -> None:
    report = measured("demo", "coded", "--sample", "60", "--root", root)
    assert (report["queries"], report["limit"], report["target"]) == (60, 10, 0.5)
    assert report["low"] < report["mean"] < report["high"] <= 1
    assert measured("demo", "coded", "--sample", "60", "--root", root) == report
    assert measured("demo", "coded", "--sample", "60", "--seed", "1", "--root", root) != report


def test_recall_of_what_is_searched_exactly_is_one(root: str) -> None:
    shown = invoke("demo", "small", "--root", root)
    assert shown.stdout == (
        "recall@10 1.0000 (95 % interval 0.9924 to 1.0000), target 0.98, 50 queries (rows of its own), commit 1\n"
    )


def test_an_empty_index_has_nothing_to_measure(root: str) -> None:
    shown = invoke("demo", "empty", "--root", root)
    assert (shown.exit_code, shown.stdout) == (0, "nothing to measure at commit 0: no query has neighbours\n")


@pytest.mark.parametrize("write", [_numpy, _parquet, _arrow, _json_lines])
def test_queries_of_a_file_are_measured(
    root: str, tmp_path: Path, queries: NDArray[np.float32], write: Callable[[Path, NDArray[np.float32]], Path]
) -> None:
    with quiver.connect(root) as connection:
        index = connection.bucket("demo").index("coded")
        found = [(index.query(each).keys, index.query(each, recall=1.0).keys) for each in queries]
    shares = [len(set(answered) & set(true)) / 10 for answered, true in found]
    report = measured("demo", "coded", "--queries", str(write(tmp_path, queries)), "--root", root)
    assert report["queries"] == len(queries)
    assert report["mean"] == pytest.approx(np.mean(shares))
    assert report["mean"] < 1
    hits = np.rint(10 * np.array(shares)).astype(int)
    assert [report[name] for name in ("mean", "low", "high")] == pytest.approx(
        wilson(hits, np.full(len(hits), 10))
    )


def test_a_stored_vector_in_a_file_finds_itself(root: str, tmp_path: Path) -> None:
    """Unlike a row of the index that is asked with, it is a query like any other."""
    with quiver.connect(root) as connection:
        vectors = connection.bucket("demo").index("small").get(["k1", "k2"]).vectors
    file = str(_numpy(tmp_path, vectors))
    report = measured("demo", "small", "--queries", file, "--top-k", "50", "--root", root)
    assert (report["mean"], report["queries"]) == (1.0, 2)


def test_a_sample_of_a_file_is_asked(root: str, tmp_path: Path, queries: NDArray[np.float32]) -> None:
    file = str(_numpy(tmp_path, queries))
    shown = invoke("demo", "coded", "--queries", file, "--sample", "12", "--root", root)
    assert "12 queries (queries.npy)" in shown.stdout


def test_one_query_says_nothing_of_others(root: str, tmp_path: Path, queries: NDArray[np.float32]) -> None:
    report = measured("demo", "small", "--queries", str(_numpy(tmp_path, queries[:1])), "--root", root)
    assert (report["mean"], report["low"], report["high"]) == (1.0, 0.0, 1.0)


def test_queries_are_measured_under_a_filter(root: str, tmp_path: Path, queries: NDArray[np.float32]) -> None:
    file = str(_numpy(tmp_path, queries))
    filtered = ("--filter", '{"part": 3}')
    assert measured("demo", "coded", "--queries", file, *filtered, "--root", root)["mean"] == 1.0
    shown = invoke("demo", "coded", "--queries", file, "--filter", '{"part": 100}', "--root", root)
    assert "no query has neighbours" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("small", "--filter", '{"a": {"$no": 1}}'), 1, "filter"),
        (("small", "--sample", "1"), 2, "sample"),
        (("small", "--seed", "-1"), 2, "seed"),
        (("small", "--queries", "absent.npy"), 2, "absent.npy"),
        (("small", "--vector", "v"), 2, "--vector"),
        (("absent",), 1, "there is no index absent in a bucket demo"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    root: str, arguments: tuple[str, ...], code: int, message: str
) -> None:
    refused = invoke("demo", *arguments, "--root", root)
    assert refused.exit_code == code, refused.output
    assert message in refused.output
    assert "Traceback" not in refused.output


def test_queries_that_do_not_fit_are_refused(root: str, tmp_path: Path) -> None:
    file = _numpy(tmp_path, np.ones((3, 5), np.float32))
    refused = invoke("demo", "small", "--queries", str(file), "--root", root)
    assert refused.exit_code == 1
    assert f"{file}: vectors[0]" in refused.output
    assert "must have length 384, but has length 5" in refused.output
