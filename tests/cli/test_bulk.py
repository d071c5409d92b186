"""`quiver import` and `export`: files in, files out, beside a running server too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import quiver
from cli.running import KEYS, RunningServer, environment
from cli.test_create import specs
from quiver.cli.main import app
from quiver.model.types import DistanceMetric, IndexSpec

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

COUNT = 11_000


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.chdir(tmp_path)
    for name in ("QUIVER_ROOT", "QUIVER_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    return str(tmp_path / "data")


def invoke(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write(path: Path, count: int = COUNT) -> Path:
    vectors = np.random.default_rng(3).standard_normal((count, 4)).astype(np.float32)
    data = {"key": [f"k{i}" for i in range(count)], "vector": vectors.tolist(), "n": list(range(count))}
    pq.write_table(pa.table(data), path)
    return path


def test_a_matrix_is_keyed_by_row_numbers_and_what_is_created_has_the_structure_asked_for(root, tmp_path) -> None:
    path, vectors = tmp_path / "rows.npy", np.random.default_rng(4).standard_normal((300, 4))
    np.save(path, vectors)
    structure = ("--partitioner", "kdtree", "--codec", "sq8", "--recall", "0.9")
    made = invoke("import", "demo", "words", path, "--root", root, *structure)
    assert made.exit_code == 2
    assert "--create" in made.stderr
    made = invoke("import", "demo", "words", path, "--root", root, "--create", *structure)
    assert (made.exit_code, made.stdout) == (0, "300 rows imported into demo/words\n")
    with quiver.connect(root) as db:
        index = db.bucket("demo").index("words")
        assert np.array_equal(index.get(["299"]).vectors, vectors[299:].astype(np.float32))
    assert specs(root)["demo/words"] == IndexSpec(4, DistanceMetric.COSINE, (), "kdtree", "sq8", 0.9)


def test_an_index_is_created_loaded_and_exported(root: str, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet")
    made = invoke("import", "demo", "words", path, "--root", root, "--create", "--metric", "euclidean")
    assert (made.exit_code, made.stdout, made.stderr) == (0, "11,000 rows imported into demo/words\n", "")
    with quiver.connect(root) as db:
        index = db.bucket("demo").index("words")
        assert (index.info().dimension, index.info().metric) == (4, "euclidean")
        assert index.get(["k10999"]).metadata == [{"n": 10_999}]
    made = invoke("export", "demo", "words", tmp_path / "out.parquet", "--root", root, "--json")
    assert (made.exit_code, json.loads(made.stdout)) == (0, {"bucket": "demo", "index": "words", "rows": COUNT})
    assert pq.read_metadata(tmp_path / "out.parquet").num_rows == COUNT


def test_an_index_that_exists_is_not_imported_into_when_it_is_not_as_asked_for(root: str, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", 3)
    made = invoke("import", "demo", "words", path, "--root", root, "--metric", "euclidean")
    assert (made.exit_code, "--create" in made.stderr) == (2, True)
    asked = ("--root", root, "--create", "--metric", "euclidean", "--codec", "sq8")
    assert invoke("import", "demo", "words", path, *asked).exit_code == 0
    assert invoke("import", "demo", "words", path, *asked).exit_code == 0
    assert invoke("import", "demo", "words", path, "--root", root, "--create").exit_code == 0  # asks for nothing
    others = {("--metric", "cosine"): "metric euclidean, not cosine", ("--codec", "pq"): "codec sq8, not pq"}
    for other, difference in others.items():
        made = invoke("import", "demo", "words", path, "--root", root, "--create", *other)
        fault = f"the index demo/words exists, and has {difference}: nothing was imported"
        assert (made.exit_code, made.stderr) == (1, f"quiver: {fault}\n")
    (tmp_path / "flat.jsonl").write_text('{"key":"z","vector":[1,2]}\n')
    made = invoke("import", "demo", "words", tmp_path / "flat.jsonl", "--root", root, "--create")
    assert (made.exit_code, "has dimension 4, not 2: nothing" in made.stderr) == (1, True)
    with quiver.connect(root) as db:
        assert sorted(db.bucket("demo").index("words")) == ["k0", "k1", "k2"]


def test_several_files_go_in_together_and_columns_are_named(root: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"name":"a","v":[1,2],"x":1,"y":2}\n')
    (tmp_path / "b.jsonl").write_text('{"name":"b","v":[3,4],"x":5,"y":6}\n')
    files = (tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    options = ("--root", root, "--create", "--key", "name", "--vector", "v")
    made = invoke("import", "demo", "words", *files, *options, "--fields", "y", "--json")
    assert json.loads(made.stdout) == {"bucket": "demo", "index": "words", "rows": 2}
    with quiver.connect(root) as db:
        assert db.bucket("demo").index("words").get(["a", "b"]).metadata == [{"y": 2}, {"y": 6}]
    assert invoke("import", "demo", "words", *files, *options, "--fields", "").exit_code == 0
    with quiver.connect(root) as db:
        assert db.bucket("demo").index("words").get(["a", "b"]).metadata == [{}, {}]


def test_what_is_wrong_is_one_line_and_an_exit_code(root: str, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", 3)
    assert invoke("create-bucket", "other", "--root", root).exit_code == 0
    made = invoke("import", "demo", "words", path, "--root", root)
    assert (made.exit_code, made.stdout) == (1, "")
    assert made.stderr == "quiver: The specified index could not be found\n"
    assert invoke("import", "demo", "words", path, "--root", root, "--create").exit_code == 0
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"key":"z","vector":[1,2,3,4]}\n{"key":"y","vector":[1,2]}\n')
    made = invoke("import", "demo", "words", bad, "--root", root)
    fault = "Invalid record for key 'y': vector must have length 4, but has length 2"
    assert (made.exit_code, made.stderr) == (1, f"quiver: {bad}: vectors[1]: {fault}\n")
    with quiver.connect(root) as db:
        assert sorted(db.bucket("demo").index("words")) == ["k0", "k1", "k2"]
    absent = tmp_path / "none" / "x.parquet"
    made = invoke("export", "demo", "words", absent, "--root", root)
    assert (made.exit_code, made.stderr) == (1, f"quiver: {absent}: No such file or directory\n")
    made = invoke("export", "demo", "words", tmp_path / "x.csv", "--root", root)
    assert (made.exit_code, made.stderr) == (1, f"quiver: {tmp_path}/x.csv: the name must end in .parquet\n")
    assert list(tmp_path.glob("**/*.partial")) == []
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    made = invoke("import", "demo", "new", empty, "--root", root, "--create")
    assert (made.exit_code, "dimension" in made.stderr) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("import", "demo", "words"),
        ("import", "demo", "words", "no-such-file.parquet"),
        ("import", "demo", "words", ".", "--metadata", "a", "--fields", "b"),
        ("import", "demo", "words", ".", "--metric", "dot"),
        ("export", "demo", "words", "x.parquet", "--compression", "rar"),
    ],
)
def test_wrong_usage(root: str, arguments: tuple[str, ...]) -> None:
    assert invoke(*arguments).exit_code == 2


@pytest.mark.slow
def test_a_running_server_answers_what_was_imported_beside_it(root: str, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet")
    with RunningServer(root, **KEYS) as server:
        client = server.client()
        assert invoke("import", "demo", "words", path, "--root", root, "--create").exit_code == 0
        names = {"vectorBucketName": "demo", "indexName": "words"}
        client.put_vectors(**names, vectors=[{"key": "new", "data": {"float32": [1, 2, 3, 4]}}])
        found = client.get_vectors(**names, keys=["k10999", "new"], returnMetadata=True)["vectors"]
        assert {row["key"]: row["metadata"] for row in found} == {"k10999": {"n": 10_999}, "new": {}}
        assert invoke("export", "demo", "words", tmp_path / "out.parquet", "--root", root).exit_code == 0
        assert pq.read_metadata(tmp_path / "out.parquet").num_rows == COUNT + 1


def test_on_a_terminal_a_bar_shows_stage_and_rows(root: str, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", 2_000)
    reader, writer = os.openpty()
    command = [sys.executable, "-m", "quiver.cli.main", "import", "demo", "words", str(path), "--create"]
    changes = {"QUIVER_ROOT": root, "TERM": "xterm", "COLUMNS": "120"}
    ran = subprocess.run(command, env=environment(**changes), stdout=subprocess.PIPE, stderr=writer, check=True)
    os.close(writer)
    with os.fdopen(reader, "rb", buffering=0) as terminal:
        shown = terminal.read(65536).decode()
    assert ran.stdout == b"2,000 rows imported into demo/words\n"
    assert "demo/words: read" in shown
    assert "2,000 rows" in shown
