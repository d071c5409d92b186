"""A full disk (I13): writes get 503, reads are served, all is well again when there is space, nothing is lost."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli.running import environment
from cluster import judge, workload
from cluster.ledger import Write
from cluster.processes import Group, Server
from cluster.requests import Client, Outcome
from simulation.checkers.history import UNKNOWN, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

SIZE = 4 << 20
BALLAST = 1 << 20
VECTORS_PER_PUT = 16
NAMES = {"vectorBucketName": workload.BUCKET, "indexName": "large"}


class SmallDisk(Group):
    """A file system of 4 MiB that only processes started with `enter` see. `inside` shows it to this process."""

    def __init__(self, mountpoint: Path) -> None:
        mount = f'mount -t tmpfs -o size={SIZE} tmpfs "$0" && echo mounted > "$0/ready" && exec sleep 1000'
        super().__init__(["unshare", "-Urm", "sh", "-c", mount, str(mountpoint)], environment())
        self.mountpoint = mountpoint
        self.inside = Path(f"/proc/{self.process.pid}/root{mountpoint}")
        self.enter = ["nsenter", "-t", str(self.process.pid), "-U", "-m", "--preserve-credentials"]

    def wait_until_mounted(self) -> bool:
        """Whether the kernel allows it."""
        give_up = time.monotonic() + 10
        while self.process.poll() is None and time.monotonic() < give_up:
            if (self.inside / "ready").exists():
                return subprocess.run([*self.enter, "true"], check=False, timeout=10).returncode == 0
            time.sleep(0.02)
        return False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if not shutil.which("unshare") or not shutil.which("nsenter"):
        pytest.skip("needs unshare and nsenter")
    mountpoint = tmp_path / "disk"
    mountpoint.mkdir()
    with SmallDisk(mountpoint) as made:
        if not made.wait_until_mounted():
            pytest.skip("the kernel lets this user mount no file system of its own")
        yield made


def put(client: Client, value: int) -> Write:
    """Put a batch of large vectors under keys of its own."""
    keys = [f"{value}-{n}" for n in range(VECTORS_PER_PUT)]
    vectors = [{"key": key, "data": {"float32": [float(value)] * 1024}} for key in keys]
    call = time.monotonic()
    answer = client.call("PutVectors", **NAMES, vectors=vectors)
    end = time.monotonic() if answer.outcome is Outcome.OK else UNKNOWN
    if answer.outcome is not Outcome.OK:
        assert (answer.status, answer.code) == (503, "ServiceUnavailableException")
    return Write(call, end, Kind.PUT, dict.fromkeys(keys, value), answer.outcome, answer.commit)


def read_all(client: Client, writes: list[Write]) -> workload.Read:
    """What is there of every key ever sent; every vector is checked to be whole."""
    call, values = time.monotonic(), {}
    keys = [key for write in writes for key in write.items]
    for first in range(0, len(keys), 100):
        answer = client.call("GetVectors", **NAMES, keys=keys[first : first + 100], returnData=True)
        assert answer.outcome is Outcome.OK, answer
        for shown in answer.body["vectors"]:
            value = int(shown["key"].partition("-")[0])
            assert shown["data"]["float32"] == [value] * 1024
            values[shown["key"]] = value
    return workload.Read(call, time.monotonic(), keys, values, None, "GetVectors")


def test_a_full_disk_refuses_writes_serves_reads_and_recovers(disk: SmallDisk, tmp_path: Path) -> None:
    (disk.inside / "ballast").write_bytes(bytes(BALLAST))
    root = disk.mountpoint / "root"
    with Server(root, log=tmp_path / "log", prefix=disk.enter, TMPDIR=str(tmp_path)) as server:
        client = Client([server.port])
        assert client.call("CreateVectorBucket", vectorBucketName=workload.BUCKET).status == 200
        kind = {"dataType": "float32", "dimension": 1024, "distanceMetric": "euclidean"}
        assert client.call("CreateIndex", **NAMES, **kind).status == 200
        writes: list[Write] = []
        while len(writes) < 200 and (not writes or writes[-1].outcome is Outcome.OK):
            writes.append(put(client, len(writes)))
        acknowledged = len(writes) - 1
        assert writes[-1].outcome is Outcome.UNKNOWN, "the disk never filled up"
        assert acknowledged > 5
        # Full: refusals go on, and whatever was acknowledged is read.
        writes += [put(client, len(writes) + n) for n in range(3)]
        judge.judge({}, writes, [read_all(client, writes)], [])
        near = {"float32": [0.0] * 1024}
        found = client.call("QueryVectors", **NAMES, topK=5, queryVector=near)
        assert [hit["key"].partition("-")[0] for hit in found.body["vectors"]] == ["0"] * 5
        # Space again: writes go on without help.
        (disk.inside / "ballast").unlink()
        writes += [put(client, len(writes) + n) for n in range(3)]
        assert [write.outcome for write in writes[-3:]] == [Outcome.OK] * 3
        judge.judge({}, writes, [], [read_all(client, writes)])
        assert server.stop() == 0
    with Server(root, log=tmp_path / "log", prefix=disk.enter, TMPDIR=str(tmp_path)) as server:
        read = read_all(Client([server.port]), writes)
        judge.judge({}, writes, [], [read])
        assert len(read.values) >= (acknowledged + 3) * VECTORS_PER_PUT
    fsck = [*disk.enter, sys.executable, "-m", "quiver.cli.main", "fsck", str(root)]
    checked = subprocess.run(fsck, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
