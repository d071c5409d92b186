"""Memory of a worker under the largest bodies, many at once."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from server.fakes import signed_headers
from server.processes import ServerProcess, read_answer

MAX_BODY = 20_971_520


def largest_put() -> bytes:
    """A PutVectors of exactly the quota, padded by white space."""
    floats = np.random.default_rng(3).standard_normal(2000).astype(np.float32).astype(float).tolist()
    vectors = [{"key": str(n), "data": {"float32": floats}, "metadata": {"n": n}} for n in range(495)]
    body = json.dumps({"vectorBucketName": "b-1", "indexName": "i-1", "vectors": vectors}).encode()
    assert len(body) <= MAX_BODY
    return body + b" " * (MAX_BODY - len(body))


def floats_as_text() -> bytes:
    """A body whose every component needs the strict way."""
    record = '{"key":"k","data":{"float32":[' + ",".join(['"NaN"'] * 5000) + "]}}"
    body = ('{"vectorBucketName":"b-1","vectors":[' + ",".join([record] * 500) + "]}").encode()
    assert len(body) <= MAX_BODY
    return body + b" " * (MAX_BODY - len(body))


def post(port: int, head: bytes, body: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(120)
        connection.sendall(head)
        connection.sendall(body)
        return read_answer(connection)[0][9:12]


def peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


MANY = [
    pytest.param(floats_as_text, 8, 1200, marks=pytest.mark.soak),
    pytest.param(largest_put, 64, 600, marks=pytest.mark.soak),
    pytest.param(floats_as_text, 64, 1200, marks=pytest.mark.soak),
]


@pytest.mark.slow
@pytest.mark.parametrize(("make", "bodies", "limit"), [(largest_put, 24, 600), *MANY])
def test_bodies_of_20_mib_at_once_keep_memory_bounded(make, bodies, limit):
    body = make()
    headers = signed_headers("POST", "/PutVectors", body, {"Content-Type": "application/json"})
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST /PutVectors HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode()
    server = ServerProcess()
    try:
        with ThreadPoolExecutor(bodies) as pool:
            answers = list(pool.map(lambda _: post(server.port, head, body), range(bodies)))
        peak = peak_mib(server.workers()[0])
    finally:
        assert server.stop() == 0
    assert set(answers) <= {b"200", b"503"}
    assert answers.count(b"200") > 0
    print(f"peak {peak:.0f} MiB, {answers.count(b'503')} of {bodies} told to come back")
    assert peak < limit
