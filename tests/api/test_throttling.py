"""Throttled clients of a real server: what boto3 sees, and that its own retries bring a burst to its end."""

from __future__ import annotations

import itertools
import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from api.workbench import Refusal, connect, fresh_name, record, refusal_of
from cli.running import free_port
from cluster.processes import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STANDARD = {"mode": "standard", "total_max_attempts": 12}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, int]]:
    """One worker with limits, and the port of its metrics."""
    directory: Path = tmp_path_factory.mktemp("throttling")
    admin = free_port()
    variables = {
        "QUIVER_THROTTLE": "index_writes=4,index_vectors=10,key_requests=100",
        "QUIVER_ADMIN_PORT": str(admin),
    }
    with Server(directory / "root", **variables) as running:
        yield running, admin
        assert running.stop() == 0


def new_index(client: Any) -> dict[str, str]:
    names = {"vectorBucketName": fresh_name(), "indexName": "i-1"}
    client.create_vector_bucket(vectorBucketName=names["vectorBucketName"])
    client.create_index(**names, dataType="float32", dimension=2, distanceMetric="euclidean")
    return names


def put(client: Any, names: dict[str, str], key: str) -> int:
    """Write one vector; how often boto3 tried again."""
    answer = client.put_vectors(**names, vectors=[record(key, [1, 2])])
    return int(answer["ResponseMetadata"]["RetryAttempts"])


def first_refusal(call: Callable[[int], object]) -> tuple[int, Refusal]:
    """Call until there is an error, however slow the calls are; how many were answered, and the error."""
    for answered in itertools.count():
        try:
            call(answered)
        except ClientError as error:
            return answered, refusal_of(error)
    raise AssertionError


@pytest.mark.slow
def test_a_client_that_does_not_retry_sees_the_modelled_error_and_is_counted(server: tuple[Server, int]) -> None:
    running, admin = server
    client = connect(running.url)
    names = new_index(client)
    written, seen = first_refusal(lambda n: client.put_vectors(**names, vectors=[record(str(n), [1, 2])]))
    assert seen == ("TooManyRequestsException", 429, "Rate exceeded: writes per second to this index", [])
    assert written >= 4
    _, seen = first_refusal(lambda n: client.delete_vectors(**names, keys=[f"unknown {n}"]))
    assert seen.code == "TooManyRequestsException"
    assert len(client.list_vectors(**names)["vectors"]) == written
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics") as answer:
        assert 'quiver_throttled_requests_total{limit="index_writes"} 2.0' in answer.read().decode()


@pytest.mark.slow
def test_boto3_comes_back_when_it_is_told(server: tuple[Server, int]) -> None:
    """After 30 vectors at 10 per second there are two seconds to pay off: longer than its own delay would be."""
    client = connect(server[0].url, retries=STANDARD)
    names = new_index(client)
    before = time.monotonic()
    client.put_vectors(**names, vectors=[record(f"k{n}", [n, 1]) for n in range(30)])
    assert put(client, names, "later") == 1
    assert time.monotonic() - before > 1.5


@pytest.mark.slow
def test_a_throttled_burst_completes(server: tuple[Server, int]) -> None:
    client = connect(server[0].url, retries=STANDARD)
    names = new_index(client)
    keys = [f"k{n}" for n in range(16)]
    with ThreadPoolExecutor(16) as pool:
        retries = list(pool.map(lambda key: put(client, names, key), keys))
    assert sum(retries) > 0
    found = client.get_vectors(**names, keys=keys)["vectors"]
    assert sorted(vector["key"] for vector in found) == sorted(keys), json.dumps(retries)
