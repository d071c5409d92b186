"""Credentials that may only read and list: a reader serves with them, commands that read work, writes fail."""

from __future__ import annotations

import http.client
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

import quiver
from cluster.processes import Moto, Server
from cluster.requests import Client
from quiver.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

NAMES = {"vectorBucketName": "demo", "indexName": "words"}
REFUSAL = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
HOP = {"connection", "transfer-encoding", "keep-alive", "content-length", "date", "server"}


class Door(ThreadingHTTPServer):
    """A way to a store that answers AccessDenied to whatever is no GET and no HEAD, and notes it."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Through)
        self.store = port
        self.refused: list[str] = []
        self.passed = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Through(BaseHTTPRequestHandler):
    server: Door
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.store, timeout=60)
        connection.request(self.command, self.path, headers=dict(self.headers.items()))
        answer = connection.getresponse()
        body = answer.read()
        self.server.passed += 1
        self._reply(answer.status, [each for each in answer.getheaders() if each[0].lower() not in HOP], body)
        connection.close()

    do_HEAD = do_GET  # noqa: N815 - the names of http.server

    def _refuse(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.refused.append(f"{self.command} {self.path}")
        self._reply(403, [("Content-Type", "application/xml")], REFUSAL)

    do_PUT = do_POST = do_DELETE = _refuse  # noqa: N815

    def _reply(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of http.server
        """Nobody reads it."""


@pytest.fixture(scope="module")
def root(moto: Moto) -> str:
    """An index with a segment and a tail."""
    url = f"s3://{Moto.BUCKET}/{os.urandom(8).hex()}"
    with pytest.MonkeyPatch.context() as patched:
        for name, value in moto.variables().items():
            patched.setenv(name, value)
        with quiver.connect(url) as db:
            index = db.create_bucket("demo").create_index("words", dimension=2, metric="euclidean")
            index.put([f"k{n}" for n in range(50)], np.array([[n, 1] for n in range(50)], np.float32))
        assert CliRunner().invoke(app, ("compact", url)).exit_code == 0
        with quiver.connect(url) as db:
            db.bucket("demo").index("words").put(["late"], [[1000, 1]])
    return url


@pytest.fixture
def door(moto: Moto) -> Iterator[Door]:
    door = Door(moto.port)
    yield door
    door.shutdown()
    door.server_close()


def test_a_reader_answers_and_never_tries_to_write(root: str, moto: Moto, door: Door, tmp_path: Path) -> None:
    variables = moto.variables(door.url) | {
        "QUIVER_ROLE": "reader",
        "QUIVER_CACHE_FOLDER": str(tmp_path / "cache"),
    }
    with Server(root, log=tmp_path / "log", **variables) as server:
        client = Client([server.port], seed=1)
        for _ in range(2):
            hits = client.call("QueryVectors", **NAMES, topK=2, queryVector={"float32": [900.0, 1.0]})
            assert [hit["key"] for hit in hits.body["vectors"]] == ["late", "k49"]
            assert len(client.call("ListVectors", **NAMES).body["vectors"]) == 51
            found = client.call("GetVectors", **NAMES, keys=["k7", "late"], returnData=True)
            assert {each["key"] for each in found.body["vectors"]} == {"k7", "late"}
        answer = client.call("PutVectors", **NAMES, vectors=[{"key": "x", "data": {"float32": [1.0, 1.0]}}])
        assert (answer.status, answer.code) == (403, "AccessDeniedException")
        client.close()
    assert door.refused == []
    assert door.passed > 5


def test_commands_that_read_need_no_more(root, moto, door, tmp_path, monkeypatch) -> None:
    for name, value in moto.variables(door.url).items():
        monkeypatch.setenv(name, value)
    for command in (
        ("inspect", root),
        ("fsck", root),
        ("explain", "demo", "words", "--root", root, "--key", "k7"),
        ("count", "demo", "words", "--root", root),
        ("export", "demo", "words", str(tmp_path / "out.parquet"), "--root", root),
        ("copy", root, str(tmp_path / "copied")),
    ):
        done = CliRunner().invoke(app, command)
        assert (command[0], done.exit_code) == (command[0], 0), done.output
        assert door.refused == []


def test_a_write_without_permission_is_refused_and_the_log_says_why(root, moto, door, tmp_path) -> None:
    variables = moto.variables(door.url) | {"QUIVER_LOG_LEVEL": "warning"}
    with Server(root, log=tmp_path / "log", **variables) as server:
        client = Client([server.port], seed=1)
        answer = client.call("PutVectors", **NAMES, vectors=[{"key": "x", "data": {"float32": [1.0, 1.0]}}])
        assert answer.status == 503
        keys = {each["key"] for each in client.call("ListVectors", **NAMES).body["vectors"]}
        assert (len(keys), "x" in keys) == (51, False)
        client.close()
    assert door.refused
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if line.startswith("{")]
    (line,) = (line for line in lines if line["event"] == "unavailable")
    assert (line["error"], "privileges" in line["message"]) == ("StoreRefusedError", True)
