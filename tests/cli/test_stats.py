"""`quiver stats`: what it shows of a running server, and what it says where there is none."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

import quiver
from cli.running import KEYS, RunningServer, free_port
from quiver.cli.main import app
from quiver.cli.stats import _default
from quiver.settings import Settings
from server.fakes import signed_headers
from server.processes import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typer.testing import Result


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    running = ServerProcess()
    yield running
    assert running.stop() == 0


def invoke(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, ("stats", *arguments), env=environment)


def ask(server: ServerProcess) -> None:
    headers = signed_headers("POST", "/ListVectorBuckets", b"{}", {"Content-Type": "application/json"})
    url = f"http://127.0.0.1:{server.port}/ListVectorBuckets"
    with urllib.request.urlopen(urllib.request.Request(url, b"{}", headers, method="POST"), timeout=60) as answer:
        assert answer.status == 200


def test_the_tables_of_a_running_server(server: ServerProcess) -> None:
    ask(server)
    shown = invoke("--admin", f"127.0.0.1:{server.admin_port}")
    assert shown.exit_code == 0, shown.output
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert ["operation", "OK", "other", "mean", "ms", "p50", "ms", "p99", "ms"] in lines
    assert any(line[:1] == ["Health"] and int(line[1]) >= 1 for line in lines)
    assert ["memory", "3", "0", "65,536", "1,048,576"] in lines
    assert ["store", "requests", "errors", "sent", "bytes", "received", "bytes"] in lines
    assert ["get", "1", "0", "0", "0"] in lines
    assert "hit rate 75.0%, 1 misses, 0 requests for 0 bytes, 0 damaged blocks" in shown.stdout
    assert "measured of the store: 25.0 ms a request, 40.0 MB/s a connection\n" in shown.stdout


def test_the_document_of_a_running_server(server: ServerProcess) -> None:
    environment = {"QUIVER_ADMIN_HOST": "127.0.0.1", "QUIVER_ADMIN_PORT": str(server.admin_port)}
    found = json.loads(invoke("--json", **environment).stdout)
    assert found["workers"] == 1
    assert found["cache"]["bytes"] == {"memory": 65536, "disk": 0}
    assert found["latency"].keys() == found["requests"].keys()


def test_where_no_server_answers(server: ServerProcess) -> None:
    port = free_port()
    silent = invoke("--admin", f"127.0.0.1:{port}")
    assert silent.exit_code == 1
    assert f"no server answers at 127.0.0.1 port {port}" in silent.output
    other = invoke("--admin", f"127.0.0.1:{server.port}")
    assert other.exit_code == 1
    assert "is not the admin listener of a server" in other.output


@pytest.mark.parametrize("address", ["127.0.0.1", ":80", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:x"])
def test_an_address_without_host_and_port_is_wrong_usage(address: str) -> None:
    assert invoke("--admin", address).exit_code == 2


def test_the_address_follows_from_the_settings() -> None:
    assert _default(Settings()) == ("127.0.0.1", 8081)
    assert _default(Settings(port=90, admin_host="0.0.0.0")) == ("127.0.0.1", 91)
    assert _default(Settings(admin_host="::", admin_port=7)) == ("::1", 7)


def test_damage_that_a_request_meets_is_in_the_stats_and_the_log_with_its_object(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with quiver.connect(str(root)) as db:
        db.create_bucket("demo").create_index("words", dimension=2).put(["a"], [[1, 0]])
    assert CliRunner().invoke(app, ("compact", str(root))).exit_code == 0
    (rows,) = root.glob("index/*/segment/*/rows.parquet")
    rows.write_bytes(bytes(byte ^ 1 for byte in rows.read_bytes()))
    port = str(free_port())
    with (
        (tmp_path / "log").open("w") as log,
        RunningServer(str(root), log=log, QUIVER_ADMIN_PORT=port, **KEYS) as on,
    ):
        for _ in range(2):
            with pytest.raises(ClientError, match=r"rows\.parquet"):
                on.client().get_vectors(vectorBucketName="demo", indexName="words", keys=["a"], returnData=True)
        shown = invoke("--admin", f"127.0.0.1:{port}")
        (problem,) = json.loads(invoke("--admin", f"127.0.0.1:{port}", "--json").stdout)["problems"]
    key = rows.relative_to(root).as_posix()
    assert (problem["event"], problem["count"], key in problem["message"]) == ("GetVectors failed", 2, True)
    assert key in shown.stdout.replace("\n", "")
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [key in line["message"] for line in lines if line["event"] == "damaged data"] == [True, True]
