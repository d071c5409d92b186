"""What the object store tests share: a runtime, and a moto server in a process of its own."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import boto3
import botocore.session
import pytest
from botocore.loaders import create_loader

from objectstore.contract import PARTS
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.dynamodb import DynamoTable
from quiver.objectstore.remote import RemoteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUCKET = "quiver-tests"
AWS_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
CREDENTIALS = {"access_key_id": "test", "secret_access_key": "test", "region": "us-east-1"}


class Moto(NamedTuple):
    """A running server and how to open stores in it."""

    endpoint: str

    def store(self, path: str, bucket: str = BUCKET) -> RemoteStore:
        """One that uploads what is larger than a MiB in parts."""
        return RemoteStore(f"s3://{bucket}/{path}", endpoint=self.endpoint, options=CREDENTIALS, large=PARTS)


@pytest.fixture(scope="session", autouse=True)
def models_are_read_once() -> Iterator[None]:
    """Every session of boto3 would read the descriptions of its services anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", cache(create_loader))
        yield


@pytest.fixture
def aws_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in the environment, where boto3 looks for them."""
    for variable, value in AWS_KEYS.items():
        monkeypatch.setenv(variable, value)


@pytest.fixture
def runtime() -> Iterator[SystemRuntime]:
    runtime = SystemRuntime(threads=8)
    yield runtime
    runtime.close()


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, str(Path(__file__).with_name("moto_server.py")), str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_it_listens(server, port)
        endpoint = f"http://127.0.0.1:{port}"
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        client.create_bucket(Bucket=BUCKET)
        yield Moto(endpoint)
    finally:
        server.terminate()
        server.wait()


def wait_until_it_listens(server: subprocess.Popen[bytes], port: int) -> None:
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up:
        assert server.poll() is None, "the moto server ended by itself"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the moto server does not listen")


@pytest.fixture
def fresh_path() -> Callable[[], str]:
    """A path in the bucket no other test uses."""
    return lambda: f"t/{os.urandom(8).hex()}"


@pytest.fixture(scope="session")
def commit_table(moto: Moto) -> str:
    """The name of a DynamoDB table for commit stores, in the moto server; use it with `aws_keys`."""
    name = "quiver-commits"
    runtime = SystemRuntime(threads=1)
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in AWS_KEYS.items():
            patch.setenv(variable, value)
        table = DynamoTable(name, "none", runtime, region="us-east-1", endpoint=moto.endpoint)
        assert asyncio.run(table.create_table())
        asyncio.run(table.close())
    runtime.close()
    return name
