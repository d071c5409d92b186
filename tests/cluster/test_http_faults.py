"""Connections that break: between boto3 and the server, and between the server and its object store."""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from cli.running import KEYS
from cluster import judge, upkeep, workload
from cluster.faulty_proxy import APPLIED_AND_LOST, Fault, FaultyProxy, Request
from cluster.processes import Moto, Server
from cluster.requests import Client
from cluster.workload import EVERY_KEY, Clients
from simulation.checkers.history import Violation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow

CUTS = 60
BOTO_CLIENTS = 6
GIVE_UP_SECONDS = 120
LOST_PUTS = 25
SETTLE_SECONDS = 5
"""After the last fault of the store, writes of unknown outcome are resolved within this time."""
CLIENT_FAULTS = (
    Fault.CUT_ANSWER,
    Fault.CUT_ANSWER,
    Fault.CUT_WITHIN_ANSWER,
    Fault.RESET_AFTER,
    Fault.RESET_BEFORE,
    Fault.ERROR_AFTER,
    Fault.DELAY,
)
STORE_FAULTS = (
    Fault.CUT_ANSWER,
    Fault.RESET_AFTER,
    Fault.RESET_BEFORE,
    Fault.ERROR_BEFORE,
    Fault.ERROR_AFTER,
    Fault.CONFLICT_BEFORE,
    Fault.DELAY,
)


class Switch:
    """Chooses faults at random while `on`."""

    def __init__(self, seed: int, faults: tuple[Fault, ...], rate: float, methods: tuple[str, ...]) -> None:
        self.on = False
        self._random = random.Random(seed)
        self._faults, self._rate, self._methods = faults, rate, methods

    def __call__(self, request: Request) -> Fault:
        if self.on and request.method in self._methods and self._random.random() < self._rate:
            return self._random.choice(self._faults)
        return Fault.NONE


# ---- between boto3 and the server


def boto(url: str) -> Any:
    """An unmodified client, with the retries it has by default."""
    return boto3.client(
        "s3vectors",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=KEYS["QUIVER_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["QUIVER_SECRET_ACCESS_KEY"],
    )


class CutShortError(Exception):
    """boto3 takes a body that was cut short, and so is no JSON, for an answer without members."""


class Mirror:
    """One boto3 client of keys and an index of its own, and what the server must hold after each call.

    A call that ends in an error may have had its effect or not; the next direct look at the server decides,
    and allows nothing else.
    """

    def __init__(self, number: int, through: Any, direct: Any) -> None:
        self.keys = [f"{number}-{n}" for n in range(4)]
        self.vectors: dict[str, int] = {}
        self.has_index = False
        self.calls = self.errors = 0
        self._own = {"vectorBucketName": workload.BUCKET, "indexName": f"own-{number}"}
        self._through, self._direct = through, direct
        self._random = random.Random(number)
        self._values = itertools.count(1)

    def step(self) -> None:
        """One call, then a direct look at what it did."""
        self.calls += 1
        dice = self._random.random()
        keys = self._random.sample(self.keys, self._random.randint(1, 4))
        if dice < 0.5:
            self._put(keys)
        elif dice < 0.75:
            after = {key: value for key, value in self.vectors.items() if key not in keys}
            self._write(lambda: self._through.delete_vectors(**workload.NAMES, keys=keys), after)
        elif dice < 0.9:
            self._read()
        else:
            self._create_or_delete()

    def _put(self, keys: list[str]) -> None:
        value = next(self._values)
        vectors = [workload.record(key, value) for key in keys]
        after = self.vectors | dict.fromkeys(keys, value)
        self._write(lambda: self._through.put_vectors(**workload.NAMES, vectors=vectors), after)

    def _write(self, send: Callable[[], object], after: dict[str, int]) -> None:
        before = self.vectors
        failed = self._failure(send)
        self.vectors = self._stored()
        assert self.vectors in ([before, after] if failed else [after]), f"{before} -> {after}: {self.vectors}"
        # The server refuses no write but while its upkeep is behind, and boto3 must not have made an error up.
        assert not isinstance(failed, ClientError) or status(failed) >= 500 or status(failed) == 429, failed

    def _read(self) -> None:
        found: list[dict[str, int]] = []
        failed = self._failure(lambda: found.append(self._shown(self._through)))
        assert failed or found == [self.vectors]

    def _create_or_delete(self) -> None:
        """A retry finds the index made, or gone, by the first attempt: as on AWS, that is an error, or fine."""
        expected = not self.has_index
        if expected:
            kind = {"dataType": "float32", "dimension": 2, "distanceMetric": "cosine"}
            failed = self._failure(lambda: self._through.create_index(**self._own, **kind))
        else:
            failed = self._failure(lambda: self._through.delete_index(**self._own))
        listed = self._direct.list_indexes(vectorBucketName=workload.BUCKET, prefix=self._own["indexName"])
        self.has_index = len(listed["indexes"]) == 1
        assert len(listed["indexes"]) <= 1
        if isinstance(failed, ClientError) and status(failed) < 500:
            assert status(failed) == (409 if expected else 404)
            assert self.has_index == expected  # whoever hears "exists", or "is gone", can rely on it
        assert failed or self.has_index == expected

    def _failure(self, send: Callable[[], object]) -> Exception | None:
        try:
            send()
        except (BotoCoreError, ClientError, CutShortError) as error:
            self.errors += 1
            return error
        return None

    def _stored(self) -> dict[str, int]:
        return self._shown(self._direct)

    def _shown(self, client: Any) -> dict[str, int]:
        shown = client.get_vectors(**workload.NAMES, keys=self.keys, returnData=True, returnMetadata=True)
        if "vectors" not in shown:
            raise CutShortError
        return {each["key"]: workload.value_of(each) for each in shown["vectors"]}


def status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def run_all(mirrors: list[Mirror], done: Callable[[], bool]) -> None:
    """Let each mirror work in a thread of its own until `done`. Raises what one of them found wrong."""
    errors: list[BaseException] = []

    def work(mirror: Mirror) -> None:
        try:
            while not done() and not errors:
                mirror.step()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(mirror,)) for mirror in mirrors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_each_call_of_boto3_has_its_effect_once_or_is_an_error(tmp_path: Path) -> None:
    switch = Switch(1, CLIENT_FAULTS, rate=0.35, methods=("POST",))
    with (
        Server(tmp_path / "root", log=tmp_path / "log", TMPDIR=str(tmp_path), QUIVER_FLUSH_ROWS="100") as server,
        FaultyProxy(server.port, switch) as proxy,
    ):
        workload.create_index(Client([server.port]))
        mirrors = [Mirror(n, boto(proxy.url), boto(server.url)) for n in range(BOTO_CLIENTS)]
        switch.on = True
        give_up = time.monotonic() + GIVE_UP_SECONDS
        run_all(mirrors, lambda: proxy.total(*APPLIED_AND_LOST) >= CUTS or time.monotonic() > give_up)
        listed = boto(server.url).list_vectors(**workload.NAMES, returnMetadata=True)["vectors"]
        assert server.stop() == 0
    assert proxy.total(*APPLIED_AND_LOST) >= CUTS
    assert all(proxy.total(fault) for fault in CLIENT_FAULTS)
    due = {key: value for mirror in mirrors for key, value in mirror.vectors.items()}
    assert {each["key"]: workload.value_of(each) for each in listed} == due
    assert len(listed) == len(due)
    # Most calls that met a fault ended well all the same.
    faults = proxy.total(*CLIENT_FAULTS)
    assert sum(mirror.errors for mirror in mirrors) < faults / 2
    assert upkeep.findings(tmp_path / "root") == []


# ---- between the server and its store


@pytest.fixture
def bucket_root(moto: Moto) -> str:
    return f"s3://{Moto.BUCKET}/{os.urandom(8).hex()}"


def enough_faults(proxy: FaultyProxy) -> bool:
    lost = sum(proxy.seen["PUT", fault] for fault in APPLIED_AND_LOST)
    return lost >= LOST_PUTS and all(proxy.seen["PUT", fault] for fault in STORE_FAULTS)


@pytest.mark.soak
def test_a_store_that_loses_requests_and_answers_loses_no_write(
    moto: Moto, bucket_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch = Switch(2, STORE_FAULTS, rate=0.4, methods=("PUT",))
    with FaultyProxy(moto.port, switch) as proxy:
        variables = moto.variables(proxy.url) | {"TMPDIR": str(tmp_path), "QUIVER_FLUSH_ROWS": "60"}
        with (
            Server(bucket_root, log=tmp_path / "one.log", **variables) as one,
            Server(bucket_root, log=tmp_path / "two.log", **variables) as two,
        ):
            ports = [one.port, two.port]
            workload.create_index(Client(ports))
            load = Clients(ports, tmp_path, count=4, seed=2, values=workload.unique_values())
            switch.on = True
            give_up = time.monotonic() + GIVE_UP_SECONDS
            while not enough_faults(proxy) and time.monotonic() < give_up:
                time.sleep(0.1)
            load.stop()
            switch.on = False
            time.sleep(SETTLE_SECONDS)
            at_rest = [workload.read_keys(Client([port]), EVERY_KEY) for port in ports]
            at_rest += [workload.read_all(Client([port]), "QueryVectors") for port in ports]
            done = judge.judge({}, load.writes, load.reads, at_rest)
            assert [one.stop(), two.stop()] == [0, 0]
    assert enough_faults(proxy), proxy.seen
    assert done["undecided keys"] == 0
    assert done["ok"] > 50
    # Nearly every write is brought to an end in spite of it all.
    assert done["unknown"] < done["ok"] / 5
    for name, value in moto.variables().items():
        monkeypatch.setenv(name, value)
    assert upkeep.findings(bucket_root) == []


def test_a_store_that_is_down_is_503_and_what_was_acknowledged_is_there_when_it_is_back(
    moto: Moto, bucket_root: str, tmp_path: Path
) -> None:
    switch = Switch(3, (Fault.ERROR_BEFORE,), rate=1.0, methods=("PUT", "GET"))
    with FaultyProxy(moto.port, switch) as proxy:
        variables = moto.variables(proxy.url) | {"TMPDIR": str(tmp_path)}
        with Server(bucket_root, log=tmp_path / "log", **variables) as server:
            client = Client([server.port])
            workload.create_index(client)
            first = [workload.record("key-1", 1)]
            assert client.call("PutVectors", **workload.NAMES, vectors=first).status == 200
            switch.on = True
            second = {"vectors": [workload.record("key-1", 2)]}
            with ThreadPoolExecutor(2) as pool:
                answers = [
                    pool.submit(Client([server.port]).call, operation, **workload.NAMES, **given)
                    for operation, given in (("PutVectors", second), ("GetVectors", {"keys": ["key-1"]}))
                ]
            for answer in answers:
                assert (answer.result().status, answer.result().code) == (503, "ServiceUnavailableException")
            switch.on = False
            read = read_when_back(client)
            assert read.values in ({"key-1": 1}, {"key-1": 2})


def read_when_back(client: Client) -> workload.Read:
    give_up = time.monotonic() + GIVE_UP_SECONDS
    while time.monotonic() < give_up:
        read = workload.read_keys(client, ["key-1"])
        if read is not None:
            return read
        time.sleep(0.2)
    raise Violation("the server does not recover")
