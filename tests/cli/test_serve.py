"""`quiver serve` from start to stop: greeting, credentials, signals, refusals."""

import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import botocore.exceptions
import pytest

from cli.running import KEYS, RunningServer, environment, free_port
from quiver.cli import serve as serving


def start_in_vain(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "quiver.cli.main", "serve", *arguments]
    return subprocess.run(
        command, env=environment(**changes), capture_output=True, text=True, timeout=180, check=False
    )


def pasted(snippet: str, **changes: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", snippet],
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_first_start_shows_a_snippet_that_runs_and_the_second_keeps_the_secret(tmp_path: Path) -> None:
    root = str(tmp_path / "data")
    with RunningServer(root) as server:
        first = server.greeting
        printed = pasted(first[first.index("import boto3") :])
        assert "'key': 'king'" in printed
        assert "'distance': 0.00375" in printed
        assert "apple" not in printed
    secret = (tmp_path / "data.credentials").read_text().split("aws_secret_access_key = ")[1].strip()
    assert secret in first
    with RunningServer(root, "--workers", "2") as server:
        assert secret not in server.greeting
        client = server.client(*_stored_keys(tmp_path))
        assert [b["vectorBucketName"] for b in client.list_vector_buckets()["vectorBuckets"]] == ["demo"]
        hits = client.query_vectors(
            vectorBucketName="demo", indexName="words", topK=5, queryVector={"float32": [1.0, 0.0, 0.0]}
        )
        assert [hit["key"] for hit in hits["vectors"]] == ["king", "apple"]


def _stored_keys(directory: Path) -> list[str]:
    lines = (directory / "data.credentials").read_text().splitlines()
    return [line.split(" = ")[1] for line in lines if " = " in line]


@pytest.mark.slow
def test_a_server_answers_health_metrics_and_signed_requests_and_stops_on_a_signal(tmp_path: Path) -> None:
    admin = free_port()
    server = RunningServer(str(tmp_path / "data"), QUIVER_ADMIN_PORT=str(admin), **KEYS)
    assert not (tmp_path / "data.credentials").exists()
    assert KEYS["QUIVER_SECRET_ACCESS_KEY"] not in server.greeting
    with urllib.request.urlopen(f"{server.url}/health") as answer:
        assert answer.status == 200
    server.client().create_vector_bucket(vectorBucketName="demo")
    with pytest.raises(botocore.exceptions.ClientError) as refusal:
        server.client(secret="not-the-secret-of-the-server").list_vector_buckets()
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics") as answer:
        assert b'quiver_requests_total{code="OK",operation="CreateVectorBucket"} 1.0' in answer.read()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0


def test_a_taken_port_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = start_in_vain(str(tmp_path / "data"), "--port", port, **KEYS)
    assert done.returncode == 2
    assert done.stderr.startswith(f"quiver: cannot listen on 127.0.0.1 port {port}: ")
    assert done.stderr.count("\n") == 1


def test_an_address_others_can_reach_needs_chosen_credentials(tmp_path: Path) -> None:
    done = start_in_vain(str(tmp_path / "data"), "--host", "0.0.0.0")
    assert done.returncode == 2
    assert "credentials somebody chose" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    done = start_in_vain(str(tmp_path / "data"), QUIVER_REGION="US EAST")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("quiver: QUIVER_REGION ")


def test_the_admin_port_is_the_next_one_or_a_free_one() -> None:
    from quiver.settings import Settings

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        chosen = serving._port_near(Settings(port=port - 1))
    assert chosen not in (port, 0)
    assert serving._port_near(Settings(port=port - 1)) == port
