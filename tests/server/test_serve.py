"""A real server over real sockets: framing, time limits, graceful stop, dead workers, the admin listener."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from server.fakes import KEY, REGION, SECRET, signed_headers
from server.processes import ServerProcess, read_answer

HOST = b"Host: localhost\r\n"
HEALTH = b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n"


@pytest.fixture(scope="module")
def server():
    running = ServerProcess(idle_seconds=0.5)
    yield running
    assert running.stop() == 0


@pytest.fixture
def own_server():
    """A server of two workers that a test may mistreat."""
    running = ServerProcess(workers=2)
    yield running
    if running.process.poll() is None:
        running.stop()


def boto(port: int, **options):
    return boto3.client(
        "s3vectors",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=KEY,
        aws_secret_access_key=options.pop("secret", SECRET),
        region_name=REGION,
        config=Config(retries={"total_max_attempts": 1}, **options),
    )


def signed_request(body: bytes, operation: str = "DeleteVectors") -> bytes:
    headers = signed_headers("POST", f"/{operation}", body, {"Content-Type": "application/json"})
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /{operation} HTTP/1.1\r\n{lines}".encode()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


# ---- unmodified clients


def test_boto3(server):
    client = boto(server.port)
    hits = client.query_vectors(vectorBucketName="b-1", indexName="i-1", topK=1, queryVector={"float32": [1.0]})
    assert hits["vectors"] == [{"key": "a", "distance": 0.25, "metadata": {"n": 1}}]
    assert hits["ResponseMetadata"]["HTTPHeaders"]["x-quiver-commit"] == "12"
    assert len(hits["ResponseMetadata"]["RequestId"]) == 36
    arn = "arn:aws:s3vectors:us-east-1:123456789012:bucket/my-b/index/i1"
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {"arn": arn}
    client.untag_resource(resourceArn=arn, tagKeys=["a b", "c+d/é"])
    vectors = [{"key": str(n), "data": {"float32": [0.5] * 512}, "metadata": {"t": "é😀"}} for n in range(200)]
    client.put_vectors(vectorBucketName="b-1", indexName="i-1", vectors=vectors)


def test_boto3_reads_errors(server):
    client = boto(server.port)
    with pytest.raises(client.exceptions.NotFoundException) as caught:
        client.get_vector_bucket(vectorBucketName="missing")
    assert caught.value.response["Error"]["Message"] == "The specified vector bucket could not be found"
    with pytest.raises(client.exceptions.ValidationException) as caught:
        client.get_vector_bucket(vectorBucketName="invalid")
    assert caught.value.response["fieldList"][1] == {"path": "/b", "message": "second"}


def test_boto3_with_a_wrong_secret_or_an_unknown_key_and_a_large_body(server):
    client = boto(server.port, secret="wrong-wrong-wrong")
    with pytest.raises(ClientError) as caught:
        client.list_vector_buckets()
    assert caught.value.response["Error"]["Code"] == "InvalidSignatureException"
    stranger = boto3.client(
        "s3vectors",
        endpoint_url=f"http://127.0.0.1:{server.port}",
        aws_access_key_id="QKUNKNOWN",
        aws_secret_access_key=SECRET,
        region_name=REGION,
        config=Config(retries={"total_max_attempts": 1}),
    )
    vectors = [{"key": str(n), "data": {"float32": [0.5] * 2048}} for n in range(500)]
    with pytest.raises(ClientError) as caught:
        stranger.put_vectors(vectorBucketName="b-1", indexName="i-1", vectors=vectors)
    assert caught.value.response["Error"]["Code"] == "UnrecognizedClientException"


# ---- framing


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 2\r\nContent-Length: 3\r\n",
        b"Content-Length: 2, 2\r\n",
        b"Content-Length: -2\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"X-A: b\r\n c\r\nContent-Length: 2\r\n",
        b"X-A : b\r\nContent-Length: 2\r\n",
        b"X-A: b\rc\r\nContent-Length: 2\r\n",
        b"X-A\r\nContent-Length: 2\r\n",
        b"Host: other\r\nContent-Length: 2\r\n",
    ],
)
def test_broken_heads_get_400_and_the_connection_ends(server, lines):
    answer, closed = server.raw(b"POST /QueryVectors HTTP/1.1\r\n" + HOST + lines + b"\r\n{}")
    assert status(answer) == 400
    assert closed


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_kinds_of_length_never_leave_a_second_request_behind(server, order):
    lines = [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"]
    head = b"POST /QueryVectors HTTP/1.1\r\n" + HOST + lines[order[0]] + lines[order[1]] + b"\r\n"
    answer, closed = server.raw(head + b"0\r\n\r\n" + HEALTH)
    assert 400 <= status(answer) < 500
    assert closed
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "body", [b"2\r\n{}XX0\r\n\r\n", b"zz\r\n{}\r\n0\r\n\r\n", b"2\n{}\n0\n\n", b"-2\r\n{}\r\n0\r\n\r\n", b"\r\n"]
)
def test_broken_chunks_get_400_and_the_connection_ends(server, body):
    head = signed_request(b"{}") + b"Transfer-Encoding: chunked\r\n\r\n"
    answer, closed = server.raw(head + body, finish=True)
    assert answer == b"" or status(answer) == 400
    assert closed


def test_sound_chunks_are_accepted(server):
    head = signed_request(b"{}") + b"Transfer-Encoding: chunked\r\n\r\n"
    answer, closed = server.raw(head + b"1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n")
    assert (status(answer), closed) == (200, False)


@pytest.mark.parametrize(
    ("request_line", "lines", "expected"),
    [
        (b"POST /" + b"a" * 9000, b"", 414),
        (b"POST /" + b"a" * 70_000, b"", 414),
        (b"POST /QueryVectors", b"X-A: " + b"a" * 17_000 + b"\r\n", 431),
        (b"POST /QueryVectors", b"".join(b"X-%d: a\r\n" % n for n in range(100)), 431),
        (b"POST /QueryVectors", b"Content-Length: 20971521\r\n", 400),
    ],
)
def test_oversized_requests_end_the_connection(server, request_line, lines, expected):
    answer, closed = server.raw(request_line + b" HTTP/1.1\r\n" + HOST + lines + b"\r\n")
    assert status(answer) == expected
    assert closed


def test_a_chunked_body_over_the_quota_is_not_read_to_its_end(server):
    head = signed_request(b"") + b"Transfer-Encoding: chunked\r\n\r\n"
    piece = b"%x\r\n" % 2**20 + bytes(2**20) + b"\r\n"
    sent = 0
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(10)
        connection.sendall(head)
        try:
            while sent < 200:
                connection.sendall(piece)
                sent += 1
        except OSError:
            pass
    assert 20 <= sent < 60


def test_a_body_exactly_at_the_quota_is_accepted(server):
    body = b"{}" + b" " * (20_971_520 - 2)
    answer, _ = server.raw(signed_request(body) + b"Content-Length: 20971520\r\n\r\n" + body)
    assert status(answer) == 200


def test_a_declared_oversize_is_answered_without_a_body(server):
    answer, closed = server.raw(signed_request(b"{}") + b"Content-Length: 999999999999\r\n\r\n")
    assert (status(answer), closed) == (400, True)
    assert b"Request body exceeds max allowed size" in answer


def test_the_next_request_on_a_connection_survives_a_refusal(server):
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(60)
        connection.sendall(
            b"POST /QueryVectors HTTP/1.1\r\n" + HOST + b"Content-Length: 100000\r\n\r\n" + bytes(100_000)
        )
        answer, closed = read_answer(connection)
        assert (status(answer), closed) == (403, False)
        connection.settimeout(60)
        connection.sendall(HEALTH)
        assert status(read_answer(connection)[0]) == 200


def test_pipelined_requests_are_answered_in_order(server):
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(HEALTH + b"GET /nothing HTTP/1.1\r\n" + HOST + b"\r\n")
        connection.settimeout(60)
        data = b""
        while data.count(b"HTTP/1.1") < 2:
            data += connection.recv(65536)
    assert data.index(b"200 OK") < data.index(b"404 Not Found")


# ---- time


def test_a_silent_client_gets_408(server):
    started = time.monotonic()
    answer, closed = server.raw(signed_request(b"{}") + b"Content-Length: 2\r\n\r\n{")
    assert (status(answer), closed) == (408, True)
    assert time.monotonic() - started < 30


def test_a_dripping_client_gets_408(server):
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(60)
        connection.sendall(signed_request(b"x" * 1000) + b"Content-Length: 1000\r\n\r\n")
        stop = threading.Event()

        def drip():
            while not stop.wait(0.1):
                try:
                    connection.send(b"x")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        answer, closed = read_answer(connection)
        stop.set()
        thread.join()
    assert (status(answer), closed) == (408, True)


def test_half_sent_bodies_do_not_hold_up_others(server):
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
    for connection in idle:
        connection.sendall(signed_request(b"x" * 1000) + b"Content-Length: 1000\r\n\r\nx")
    assert boto(server.port).list_vector_buckets()["ResponseMetadata"]["HTTPStatusCode"] == 200
    for connection in idle:
        connection.close()


def test_a_client_that_goes_away_mid_body_commits_nothing(server):
    before = admin(server, "/stats")["requests"].get("DeleteVectors", {}).get("OK", 0)
    server.raw(signed_request(b"{}") + b"Content-Length: 2\r\n\r\n{", finish=True)
    assert admin(server, "/stats")["requests"].get("DeleteVectors", {}).get("OK", 0) == before


# ---- the admin listener


def admin(server: ServerProcess, path: str):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.admin_port}{path}", timeout=60) as answer:
        data = answer.read()
    return json.loads(data) if path == "/stats" else data.decode()


def test_metrics_and_stats_have_a_listener_of_their_own(server):
    boto(server.port).list_vector_buckets()
    stats = admin(server, "/stats")
    assert stats["requests"]["ListVectorBuckets"]["OK"] >= 1
    assert stats["workers"] == 1
    assert stats["admittedBytes"] == 0
    assert stats["store"]["get"]["requests"] >= 1
    assert 0 < stats["latency"]["ListVectorBuckets"]["p50"] <= stats["latency"]["ListVectorBuckets"]["p99"]
    assert stats["cache"]["hitRate"] == 0.75
    assert stats["cache"]["budgetBytes"] == {"memory": 1 << 20, "disk": 0}
    assert 'quiver_requests_total{code="OK",operation="ListVectorBuckets"}' in admin(server, "/metrics")
    for path in ("/metrics", "/stats"):
        answer, _ = server.raw(b"GET " + path.encode() + b" HTTP/1.1\r\n" + HOST + b"\r\n")
        assert status(answer) == 404


@pytest.mark.parametrize("path", ["/", "/QueryVectors", "/health", "/metrics/..", "/metrics?x", "/debug"])
def test_the_admin_listener_offers_nothing_else(server, path):
    with pytest.raises(urllib.error.HTTPError) as caught:
        admin(server, path)
    assert caught.value.code == 404
    request = urllib.request.Request(f"http://127.0.0.1:{server.admin_port}/metrics", b"x", method="POST")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)
    assert caught.value.code == 501


# ---- stopping and dying


def slow_call(port: int, seconds: float, results: list[object]) -> threading.Thread:
    def call():
        try:
            client = boto(port, read_timeout=20)
            results.append(client.delete_vectors(vectorBucketName=f"slow{seconds}", indexName="i-1", keys=["k"]))
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    return thread


def wait_for_flight(server: ServerProcess, requests: int) -> None:
    end = time.monotonic() + 60
    while admin(server, "/stats").get("requestsInFlight") != requests:
        assert time.monotonic() < end
        time.sleep(0.02)


def refuses_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return True
    return False


def test_sigterm_finishes_what_was_accepted_and_refuses_the_rest(own_server):
    results: list[object] = []
    threads = [slow_call(own_server.port, 4, results) for _ in range(4)]
    wait_for_flight(own_server, 4)
    own_server.process.terminate()
    while not refuses_connections(own_server.port):
        assert results == [], "still accepting after SIGTERM"
        time.sleep(0.02)
    assert results == []
    assert own_server.wait() == 0
    for thread in threads:
        thread.join()
    assert [r["ResponseMetadata"]["HTTPStatusCode"] for r in results] == [200] * 4


def test_an_idle_connection_does_not_delay_the_stop(own_server):
    with socket.create_connection(("127.0.0.1", own_server.port)) as connection:
        connection.sendall(HEALTH)
        read_answer(connection)
        started = time.monotonic()
        assert own_server.stop() == 0
        assert time.monotonic() - started < 20


def test_a_killed_worker_is_replaced(own_server):
    first = wait_for_workers(own_server, 2)
    os.kill(first[0], signal.SIGKILL)
    end = time.monotonic() + 60
    while len(set(own_server.workers()) - {first[0]}) < 2:
        assert time.monotonic() < end
        time.sleep(0.05)
    for _ in range(20):
        assert get_health(own_server.port, patience=10) == 200
    assert own_server.process.poll() is None


def test_workers_do_not_outlive_a_killed_server(own_server):
    workers = wait_for_workers(own_server, 2)
    os.kill(own_server.process.pid, signal.SIGKILL)
    own_server.wait()
    end = time.monotonic() + 60
    while any(Path(f"/proc/{worker}").exists() for worker in workers) or not refuses_connections(own_server.port):
        assert time.monotonic() < end, "workers are still there"
        time.sleep(0.05)


def test_a_taken_port_is_an_error_not_a_second_server(own_server):
    code = (
        "from quiver.server.serve import serve\n"
        f"serve('127.0.0.1', {own_server.port}, target='server.fakes:create')"
    )
    search = os.pathsep.join(p for p in sys.path if p.endswith(("tests", "src")))
    second = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": search},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert second.returncode == 1
    assert "Address already in use" in second.stderr


def wait_for_workers(server: ServerProcess, count: int) -> list[int]:
    """The workers, once all of them have answered something and so watch their parent."""
    end = time.monotonic() + 60
    while admin(server, "/stats")["workers"] < count:
        assert time.monotonic() < end
        get_health(server.port, patience=5)
    return server.workers()


def get_health(port: int, patience: float = 0) -> int:
    end = time.monotonic() + patience
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        finally:
            connection.close()
