"""`quiver copy`: between a directory and S3, killed and resumed, beside a server that is written to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

import quiver
from cli.running import KEYS, RunningServer, environment
from cluster.processes import Moto
from quiver.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typer.testing import Result

ROWS = 3_000
NAMES = {"vectorBucketName": "demo", "indexName": "words"}


def invoke(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "quiver.cli.main", *map(str, arguments)]
    return subprocess.Popen(command, env=environment(), **{"stdout": subprocess.DEVNULL} | options)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with some segments, tombstones and a tail; nobody changes it."""
    path = str(tmp_path_factory.mktemp("copy") / "data")
    with quiver.connect(path, maintenance="inline") as db:
        index = db.create_bucket("demo").create_index("words", dimension=64)
        for seed in range(3):
            vectors = np.random.default_rng(seed).normal(size=(ROWS, 64)).astype(np.float32)
            first = seed * ROWS // 2
            keys = [f"k{number}" for number in range(first, first + ROWS)]
            index.put_many((keys, vectors, [{"seed": seed}] * ROWS))
            assert invoke("compact", path).exit_code == 0 or seed
        index.delete(["k7"])
        db.bucket("demo").create_index("empty", dimension=3)
    return path


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, Moto() as moto:
        for name, value in moto.variables().items():
            patch.setenv(name, value)
        yield f"s3://{moto.BUCKET}"


def objects(path: str | Path) -> dict[str, bytes]:
    files = [file for file in Path(path).rglob("*") if file.is_file() and ".tmp" not in file.parts]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def sound(root: str | Path) -> bool:
    made = invoke("fsck", root, "--json")
    return made.exit_code == 0 and json.loads(made.stdout)["ok"]


def assert_equal(copy: str | Path, root: str) -> None:
    """The copy has nothing but objects of the source, and answers as the source does."""
    made, there = objects(copy), objects(root)
    assert {name: body for name, body in made.items() if name not in ("format", "copied")}.items() <= there.items()
    assert sound(copy)
    with quiver.connect(root) as left, quiver.connect(str(copy)) as right:
        for key in ("k1", "k7", f"k{ROWS}"):
            mine, theirs = (db.bucket("demo").index("words").get([key]) for db in (left, right))
            assert mine.keys == theirs.keys
            assert np.array_equal(mine.vectors, theirs.vectors)
        probe = np.ones(64, np.float32)
        assert len({tuple(db.bucket("demo").index("words").query(probe, 20).keys) for db in (left, right)}) == 1
        assert list(right.bucket("demo").indexes()) == ["empty", "words"]


def test_a_directory_is_copied_to_another(root: str, tmp_path: Path) -> None:
    made = invoke("copy", root, tmp_path / "copy", "--json")
    assert made.exit_code == 0, made.output
    report = json.loads(made.stdout)
    size = sum(len(body) for name, body in objects(tmp_path / "copy").items() if name not in ("format", "copied"))
    assert (report["indexes"], report["nbytes"], report["kept"], report["verified"]) == (1, size, 0, True)
    assert_equal(tmp_path / "copy", root)


def test_a_directory_is_copied_to_s3_and_back(root: str, bucket: str, tmp_path: Path) -> None:
    there = invoke("copy", root, f"{bucket}/there")
    assert there.exit_code == 0, there.output
    assert there.stdout.endswith(f"bytes copied to {bucket}/there\n")
    assert sound(f"{bucket}/there")
    back = invoke("copy", f"{bucket}/there", tmp_path / "back", "--no-verify")
    assert back.exit_code == 0, back.output
    assert_equal(tmp_path / "back", root)


def test_the_library_copies_too(root: str, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    report = quiver.copy(root, str(tmp_path / "copy"), progress=lambda *now: told.append(now))
    assert told[-1] == ("copy", report.nbytes, report.nbytes)
    with pytest.raises(quiver.errors.ConflictError):
        quiver.copy(root, str(tmp_path / "copy"))
    assert_equal(tmp_path / "copy", root)


def test_what_is_wrong_is_one_line_and_an_exit_code(root: str, tmp_path: Path) -> None:
    made = invoke("copy", tmp_path / "none", tmp_path / "copy")
    assert (made.exit_code, made.stdout) == (1, "")
    assert made.stderr == f"quiver: there is no store at file://{tmp_path}/none\n"
    assert invoke("copy", root, root).exit_code == 1
    assert invoke("copy", root, "ftp://elsewhere").exit_code == 2
    assert invoke("copy", root).exit_code == 2
    assert not (tmp_path / "copy").exists()


def test_a_server_does_not_start_on_an_unfinished_copy(root: str, tmp_path: Path) -> None:
    assert invoke("copy", root, tmp_path / "copy").exit_code == 0
    (tmp_path / "copy" / "copied").unlink()
    for command in (("inspect", tmp_path / "copy"), ("fsck", tmp_path / "copy"), ("gc", tmp_path / "copy")):
        made = invoke(*command)
        assert (made.exit_code, "unfinished copy" in made.stderr) == (1, True)
    refused = invoke("copy", root, tmp_path / "copy")
    assert (refused.exit_code, "--resume" in refused.stderr) == (1, True)
    resumed = invoke("copy", root, tmp_path / "copy", "--resume")
    assert (resumed.exit_code, "brought by an earlier run" in resumed.stdout) == (0, True)
    assert_equal(tmp_path / "copy", root)


def test_a_flipped_bit_of_the_source_is_named(root: str, tmp_path: Path) -> None:
    assert invoke("copy", root, tmp_path / "damaged").exit_code == 0
    (rows, *_) = sorted((tmp_path / "damaged").rglob("rows.parquet"))
    with rows.open("r+b") as file:
        file.seek(100_000)
        byte = file.read(1)
        file.seek(100_000)
        file.write(bytes([byte[0] ^ 4]))
    made = invoke("copy", tmp_path / "damaged", tmp_path / "copy")
    assert made.exit_code == 1
    assert str(rows.relative_to(tmp_path / "damaged")) in made.stderr
    assert not list((tmp_path / "copy").rglob(f"{rows.parent.name}/*"))


@pytest.mark.slow
def test_a_copy_that_is_killed_again_and_again_is_resumed(root: str, bucket: str, tmp_path: Path) -> None:
    variables = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    for target in (str(tmp_path / "copy"), f"{bucket}/killed"):
        codes = []
        for puts in (1, 3, 2, 99):
            command = [sys.executable, "-c", DYING, str(puts), "copy", root, target, "--resume"]
            codes.append(subprocess.run(command, check=False, env=environment(**variables)).returncode)
        assert codes == [-signal.SIGKILL] * 3 + [0]
        again = invoke("copy", root, target, "--resume")
        assert (again.exit_code, "whole copy already" in again.stdout) == (0, True)
    assert invoke("copy", f"{bucket}/killed", tmp_path / "back").exit_code == 0
    for copy in ("copy", "back"):
        assert_equal(tmp_path / copy, root)


DYING = """
import os, signal, sys
from quiver.cli.main import run
from quiver.objectstore.metered_store import MeteredStore

left, put = int(sys.argv.pop(1)), MeteredStore.put_new

async def put_or_die(self, key, parts):
    global left
    left -= key.startswith(("format", "catalog/", "index/", "copied"))
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    await put(self, key, parts)

MeteredStore.put_new = put_or_die
run()
"""
"""`quiver`, killed before it puts one object of a store more than its first argument says."""


@pytest.mark.slow
def test_a_server_that_is_written_to_is_copied_with_all_that_was_acknowledged(tmp_path: Path) -> None:
    """Small flushes, merges, and garbage that is collected after a second, all while it is copied."""
    acknowledged: dict[str, int] = {}
    stop = threading.Event()
    settings = {"QUIVER_FLUSH_ROWS": "300", "QUIVER_GARBAGE_AGE_SECONDS": "1", "QUIVER_LOG_LEVEL": "error"}
    with RunningServer(str(tmp_path / "data"), **settings, **KEYS) as server:
        client = server.client()
        client.create_vector_bucket(vectorBucketName="demo")
        client.create_index(**NAMES, dataType="float32", dimension=4, distanceMetric="euclidean")

        def write() -> None:
            mine, value = server.client(), 0
            while not stop.is_set():
                value += 1
                keys = [f"k{number}" for number in range(value % 50 * 20, value % 50 * 20 + 100)]
                rows = [{"key": key, "data": {"float32": [value, 1, 2, 3]}} for key in keys]
                try:
                    mine.put_vectors(**NAMES, vectors=rows)
                except mine.exceptions.TooManyRequestsException:
                    time.sleep(0.05)
                    continue
                acknowledged.update(dict.fromkeys(keys, value))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for number in range(3):
                time.sleep(1.5)
                before = dict(acknowledged)
                copy = tmp_path / f"copy-{number}"
                process = start("copy", tmp_path / "data", copy, stderr=subprocess.PIPE)
                _, errors = process.communicate(timeout=180)
                assert process.returncode == 0, errors
                assert sound(copy)
                with quiver.connect(str(copy)) as db:
                    index = db.bucket("demo").index("words")
                    held = {
                        key: int(vector[0])
                        for batch in index.batches()
                        for key, vector in zip(batch.keys, batch.vectors, strict=True)
                    }
                late = {key for key, value in before.items() if held.get(key, 0) < value}
                assert before
                assert not late
                assert writer.is_alive()
        finally:
            stop.set()
            writer.join()


def test_on_a_terminal_a_bar_shows_how_far_it_is(root: str, tmp_path: Path) -> None:
    reader, writer = os.openpty()
    command = [sys.executable, "-m", "quiver.cli.main", "copy", root, str(tmp_path / "copy")]
    changes = {"TERM": "xterm", "COLUMNS": "160"}
    ran = subprocess.run(command, env=environment(**changes), stdout=subprocess.PIPE, stderr=writer, check=True)
    os.close(writer)
    with os.fdopen(reader, "rb", buffering=0) as terminal:
        shown = terminal.read(65536).decode()
    assert ran.stdout.endswith(f"copied to {tmp_path}/copy\n".encode())
    assert f"{root} to" in shown
    assert "MB" in shown
