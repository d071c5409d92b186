"""A writer, two readers and two maintainers over one root, each a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import time
import urllib.request
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from cli.running import free_port
from cluster import upkeep
from cluster.processes import Moto, Server
from cluster.requests import Client, Outcome
from quiver.assemble import open_store
from quiver.format import paths
from quiver.model.runtime import SystemRuntime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

NAMES = {"vectorBucketName": "roles", "indexName": "index"}
QUICK = {"QUIVER_FLUSH_ROWS": "50", "QUIVER_GARBAGE_AGE_SECONDS": "2", "QUIVER_PATROL_SECONDS": "1"}
ROLES = ("writer", "reader", "reader", "maintainer", "maintainer")
ANY = [1.0, 1.0]


class Deployment:
    """Running servers by role, and a client of each."""

    def __init__(self, root: str, stack: ExitStack, scratch: Path, variables: dict[str, str]) -> None:
        self.root = root
        self.clients: dict[str, list[Client]] = {}
        self.admins: dict[str, list[int]] = {}
        for number, role in enumerate(ROLES):
            admin = free_port()
            own = {"QUIVER_ROLE": role, "QUIVER_ADMIN_PORT": str(admin), "QUIVER_STALENESS_SECONDS": "1000"}
            server = stack.enter_context(Server(root, log=scratch / f"{number}.log", **variables | own))
            self.clients.setdefault(role, []).append(Client([server.port], seed=number))
            self.admins.setdefault(role, []).append(admin)

    def stats(self, role: str, number: int = 0) -> dict[str, Any]:
        """What the admin listener of a server says."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admins[role][number]}/stats", timeout=60) as answer:
            return json.loads(answer.read())


@pytest.fixture(scope="module", params=["directory", "bucket"])
def deployment(request: Any, tmp_path_factory: Any, moto: Moto) -> Iterator[Deployment]:
    scratch: Path = tmp_path_factory.mktemp("roles")
    variables, root = QUICK | {"TMPDIR": str(scratch)}, str(scratch / "root")
    if request.param == "bucket":
        root = f"s3://{Moto.BUCKET}/{os.urandom(8).hex()}"
        variables |= moto.variables()
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patched:
        for name, value in variables.items():
            patched.setenv(name, value)  # this process looks into the root too
        made = Deployment(root, stack, scratch, variables)
        (writer,) = made.clients["writer"]
        assert writer.call("CreateVectorBucket", vectorBucketName="roles").status == 200
        shape = {"dataType": "float32", "dimension": 2, "distanceMetric": "euclidean"}
        assert writer.call("CreateIndex", **NAMES, **shape).status == 200
        yield made


@pytest.fixture(autouse=True)
def fresh_connections(deployment: Deployment) -> None:
    """Servers close those that were idle for long."""
    for client in (one for same in deployment.clients.values() for one in same):
        client.close()


def stored(root: str) -> Counter[str]:
    """How many objects of each kind the only index has."""

    async def look() -> Counter[str]:
        runtime = SystemRuntime(threads=1)
        store = open_store(root, runtime)
        listed = [info.key for info in await store.list(paths.INDEX_ROOT)]
        await store.close()
        runtime.close()
        return Counter(paths.classify(paths.index_root(paths.index_of(key) or ""), key).kind for key in listed)

    return asyncio.run(look())


def put(client: Client, first: int, count: int = 1) -> int:
    vectors = [{"key": f"k{n}", "data": {"float32": [float(n), 1.0]}} for n in range(first, first + count)]
    give_up = time.monotonic() + 100
    while (answer := client.call("PutVectors", **NAMES, vectors=vectors)).status == 429:  # nobody has flushed yet
        assert time.monotonic() < give_up, answer
        time.sleep(0.2)
    assert answer.outcome is Outcome.OK, answer
    return answer.commit


def keys(client: Client, **headers: str) -> tuple[set[str], int]:
    sent = {f"x-quiver-{name.replace('_', '-')}": value for name, value in headers.items()}
    answer = client.read("ListVectors", sent, **NAMES, maxResults=1000)
    assert answer.status == 200, answer
    return {vector["key"] for vector in answer.body["vectors"]}, answer.commit


def test_what_the_writer_acknowledges_readers_show_at_once_while_maintainers_flush_merge_and_collect(deployment):
    (writer,), readers = deployment.clients["writer"], deployment.clients["reader"]
    expected: set[str] = set()
    for part in range(12):
        commit = put(writer, 30 * part, 30)
        expected |= {f"k{n}" for n in range(30 * part, 30 * part + 30)}
        for reader in readers:
            assert keys(reader) == (expected, commit)
        time.sleep(0.3)
    give_up = time.monotonic() + 150
    while (kinds := stored(deployment.root))["checkpoint"] > 1 or kinds["log"] > 2 or kinds["segment"] > 8:
        assert time.monotonic() < give_up, kinds
        time.sleep(0.5)
    assert kinds["segment"] >= 2
    assert kinds["checkpoint"] == 1
    for reader in readers:
        assert keys(reader)[0] == expected
        hits = reader.call("QueryVectors", **NAMES, topK=3, queryVector={"float32": ANY}, returnDistance=True)
        assert [hit["key"] for hit in hits.body["vectors"]] == ["k1", "k0", "k2"]


def test_readers_send_nothing_to_the_store_but_reads_and_refuse_writes(deployment):
    for number, reader in enumerate(deployment.clients["reader"]):
        vectors = [{"key": "x", "data": {"float32": ANY}}]
        for operation, parameters in (
            ("PutVectors", NAMES | {"vectors": vectors}),
            ("DeleteVectors", NAMES | {"keys": ["k0"]}),
            ("CreateVectorBucket", {"vectorBucketName": "another"}),
            ("DeleteIndex", NAMES),
        ):
            answer = reader.call(operation, **parameters)
            assert (answer.status, answer.code) == (403, "AccessDeniedException")
            assert "only reads" in answer.body["message"]
        answer = reader.load(NAMES, b"")
        assert (answer.status, answer.code) == (403, "AccessDeniedException")
        store = deployment.stats("reader", number)["store"]
        assert "put_new" not in store
        assert "delete" not in store


def test_maintainers_answer_no_operation(deployment):
    for maintainer in deployment.clients["maintainer"]:
        for operation in ("ListVectors", "PutVectors", "GetIndex"):
            answer = maintainer.call(operation, **NAMES)
            assert (answer.status, answer.code) == (403, "AccessDeniedException")
            assert "only maintains" in answer.body["message"]


def test_an_eventual_reader_sees_a_write_by_its_commit(deployment):
    (writer,), (reader, other) = deployment.clients["writer"], deployment.clients["reader"]
    before, _ = keys(reader)
    commit = put(writer, 5000)
    stale, seen = keys(reader, consistency="eventual")
    assert (stale, seen < commit) == (before, True)
    assert "k5000" in keys(reader, consistency="eventual", at_least=str(commit))[0]
    assert "k5000" in keys(other)[0]
    for name, value in (("x-quiver-consistency", "weak"), ("x-quiver-at-least", "soon")):
        answer = reader.read("ListVectors", {name: value}, **NAMES)
        assert (answer.status, answer.code) == (400, "ValidationException")


def test_nothing_is_damaged(deployment):
    if "://" not in deployment.root:
        assert upkeep.findings(deployment.root) == []
