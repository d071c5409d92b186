"""Two servers over one root: what one acknowledges the other shows at once, and together they are linearizable."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from cluster import judge, upkeep, workload
from cluster.processes import Moto, Server
from cluster.requests import Client, Outcome
from cluster.workload import EVERY_KEY, Clients

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

ROUNDS = 4
ENOUGH = 60
"""So many reads are made, and a second of work beyond that, but not for longer than `GIVE_UP_SECONDS`."""
GIVE_UP_SECONDS = 120
LOW_THRESHOLDS = {"QUIVER_FLUSH_ROWS": "100", "QUIVER_GARBAGE_AGE_SECONDS": "2"}
BUCKET = "pair"
NAMES = {"vectorBucketName": BUCKET, "indexName": "visible"}


class Pair:
    """Two running servers over `root`."""

    def __init__(self, root: str, servers: list[Server]) -> None:
        self.root = root
        self.ports = [server.port for server in servers]
        self.servers = servers


@pytest.fixture(scope="module", params=["directory", "bucket"])
def pair(request: Any, tmp_path_factory: Any, moto: Moto) -> Iterator[Pair]:
    scratch: Path = tmp_path_factory.mktemp("pair")
    variables = LOW_THRESHOLDS | {"TMPDIR": str(scratch)}
    root = str(scratch / "root")
    if request.param == "bucket":
        root = f"s3://{Moto.BUCKET}/{os.urandom(8).hex()}"
        variables |= moto.variables()
    # The first alone makes the root; the second then starts beside it.
    with (
        Server(root, log=scratch / "first.log", **variables) as first,
        Server(root, log=scratch / "second.log", **variables) as second,
    ):
        yield Pair(root, [first, second])


@pytest.fixture(scope="module")
def clients(pair: Pair) -> Iterator[list[Client]]:
    """One client of each server; the bucket is there, whichever test of a worker comes first."""
    made = [Client([port]) for port in pair.ports]
    do(made[0], "CreateVectorBucket", vectorBucketName=BUCKET)
    yield made
    for client in made:
        client.close()


def do(client: Client, operation: str, **parameters: object) -> dict[str, Any]:
    answer = client.call(operation, **parameters)
    assert answer.outcome is Outcome.OK, answer
    return answer.body


def make(client: Client, dimension: int) -> None:
    kind = {"dataType": "float32", "distanceMetric": "euclidean"}
    do(client, "CreateIndex", **NAMES, dimension=dimension, **kind)


def put(client: Client, key: str, *numbers: float) -> None:
    vector = {"key": key, "data": {"float32": list(numbers)}, "metadata": {"first": numbers[0]}}
    do(client, "PutVectors", **NAMES, vectors=[vector])


def seen(client: Client, key: str, dimension: int) -> list[object]:
    """What each kind of read shows of one key; all of them must agree."""
    near = {"float32": [0.0] * dimension}
    got = do(client, "GetVectors", **NAMES, keys=[key], returnMetadata=True)["vectors"]
    listed = do(client, "ListVectors", **NAMES, returnMetadata=True)["vectors"]
    found = do(client, "QueryVectors", **NAMES, topK=100, queryVector=near, returnMetadata=True)["vectors"]
    return [{each["key"]: each["metadata"]["first"] for each in shown}.get(key) for shown in (got, listed, found)]


def test_writes_through_one_are_seen_through_the_other_at_once(clients: list[Client]) -> None:
    make(clients[0], 2)
    for round_ in range(ROUNDS):
        one, other = clients[round_ % 2], clients[(round_ + 1) % 2]
        put(one, "a", round_, 0)
        assert seen(other, "a", 2) == [round_] * 3
        put(other, "a", round_ + 0.5, 0)
        assert seen(one, "a", 2) == [round_ + 0.5] * 3
        do(one, "DeleteVectors", **NAMES, keys=["a"])
        assert seen(other, "a", 2) == [None] * 3
    do(clients[1], "DeleteIndex", **NAMES)


def test_an_index_made_again_by_one_is_the_new_one_for_the_other(clients: list[Client]) -> None:
    for round_ in range(ROUNDS):
        one, other = clients[round_ % 2], clients[(round_ + 1) % 2]
        old, new = 2 + round_ % 3, 2 + (round_ + 1) % 3
        make(one, old)
        put(one, "old", *[1] * old)
        put(other, "old too", *[1] * old)  # so that both have it open
        assert seen(other, "old", old) == [1] * 3
        do(one, "DeleteIndex", **NAMES)
        vector = {"key": "late", "data": {"float32": [1] * old}}
        for refused in (
            other.call("PutVectors", **NAMES, vectors=[vector]),
            other.call("GetVectors", **NAMES, keys=["old"]),
            other.call("GetIndex", **NAMES),
        ):
            assert (refused.status, refused.code) == (404, "NotFoundException")
        make(one, new)
        refused = other.call("PutVectors", **NAMES, vectors=[vector])
        assert (refused.status, refused.code) == (400, "ValidationException")
        assert seen(other, "old", new) == [None] * 3
        put(other, "new", *[2] * new)
        assert seen(one, "new", new) == [2] * 3
        assert do(one, "GetIndex", **NAMES)["index"]["dimension"] == new
        do(other, "DeleteIndex", **NAMES)


def test_an_index_made_anew_between_two_writes_is_used_at_once(clients: list[Client]) -> None:
    """The other server resolved the name to the old index and hears of neither step."""
    for round_ in range(ROUNDS):
        one, other = clients[round_ % 2], clients[(round_ + 1) % 2]
        make(one, 2)
        put(other, "old", 1, 1)
        do(one, "DeleteIndex", **NAMES)
        make(one, 2 + round_ % 2)
        put(other, "new", *[3] * (2 + round_ % 2))
        assert seen(one, "new", 2 + round_ % 2) == [3] * 3
        assert seen(one, "old", 2 + round_ % 2) == [None] * 3
        do(one, "DeleteIndex", **NAMES)


def test_histories_of_concurrent_clients_of_both_are_linearizable(
    pair: Pair, clients: list[Client], tmp_path: Path
) -> None:
    workload.create_index(clients[0])
    load = Clients(pair.ports, tmp_path, count=4, seed=1, values=workload.unique_values())
    give_up = time.monotonic() + GIVE_UP_SECONDS
    while len(load.reads) < ENOUGH and time.monotonic() < give_up:
        time.sleep(0.1)
    time.sleep(1)
    load.stop()
    final = [workload.read_keys(client, EVERY_KEY) for client in clients]
    final += [
        workload.read_all(client, source) for client in clients for source in ("QueryVectors", "ListVectors")
    ]
    done = judge.judge({}, load.writes, load.reads, final)
    assert all(read.values == final[0].values for read in final)
    assert done["undecided keys"] == 0
    assert done["unknown"] == 0
    assert done["ok"] > 30
    assert done["reads"] > 30


def test_both_stop_gracefully_and_leave_a_sound_root(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, moto: Moto
) -> None:
    assert [server.stop() for server in pair.servers] == [0, 0]
    for name, value in moto.variables().items():
        monkeypatch.setenv(name, value)
    assert upkeep.findings(pair.root) == []
