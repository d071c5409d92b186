"""The running servers that the API tests share, one for each kind of root.

A local directory and an S3 bucket are always tried, a commit store by a share of the suite. What else is tried is
for the environment to say: see `roots.py`.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest

from api.principals import PRINCIPALS
from api.queries import DOCUMENTS
from api.roots import CEPH_BUCKET, CEPH_VARIABLES
from api.workbench import Workbench, connect, record
from cluster.processes import S3_KEYS, Moto, Server
from objectstore.azurite import ACCOUNT, CONTAINER, KEY, Azurite
from objectstore.encryption.sealing import new_keys
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.dynamodb import DynamoTable
from quiver.objectstore.encryption.key_file import key_id_of, write_key_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

TABLE = "quiver-commits"


def fresh_prefix() -> str:
    return f"api-{secrets.token_hex(4)}"


@contextmanager
def serving(root: str | Path, log: Path, **variables: str) -> Iterator[Server]:
    """Two workers over a root. They end by themselves in the end, and nothing unforeseen stands in their log."""
    with Server(root, workers=2, log=log, **variables) as server:
        yield server
        assert server.stop() == 0
    assert "unforeseen" not in log.read_text()


@pytest.fixture(scope="session")
def local_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Over one directory, with keys of several principals."""
    directory = tmp_path_factory.mktemp("api")
    principals = directory / "principals.toml"
    principals.touch(0o600)
    principals.write_text(PRINCIPALS)
    with serving(directory / "root", directory / "log", QUIVER_CREDENTIALS_FILE=str(principals)) as server:
        yield server


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    with Moto() as running:
        yield running


@pytest.fixture(scope="session")
def s3_server(moto: Moto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Over a bucket of moto's S3 server."""
    log = tmp_path_factory.mktemp("api-s3") / "log"
    with serving(f"s3://{moto.BUCKET}/{fresh_prefix()}", log, **moto.variables()) as server:
        yield server


@pytest.fixture(scope="session")
def commit_server(moto: Moto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Over a commit store: a bucket of moto's S3 that overwrites, and a table of its DynamoDB."""
    log = tmp_path_factory.mktemp("api-commit") / "log"
    create_table(moto)
    root = f"s3://{moto.BUCKET}/{fresh_prefix()}?commit=dynamodb://{TABLE}&region=us-east-1"
    with serving(root, log, **moto.variables()) as server:
        yield server


def create_table(moto: Moto) -> None:
    runtime = SystemRuntime(threads=1)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in S3_KEYS.items():
            patch.setenv(name, value)
        table = DynamoTable(TABLE, "none", runtime, region="us-east-1", endpoint=moto.url)
        assert asyncio.run(table.create_table())
        asyncio.run(table.close())
    runtime.close()


class Encrypted(NamedTuple):
    """A server over an encrypted directory, and the ARN of a KMS key that indexes may have."""

    server: Server
    kms_key: str


@pytest.fixture(scope="session")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    """Over one directory, with blocks in a cache folder."""
    directory = tmp_path_factory.mktemp("api-encrypted")
    runtime = SystemRuntime(threads=1)
    keys, kms_key = new_keys(runtime), key_id_of(runtime.new_id())
    keys = keys.with_key(kms_key, bytes.fromhex(runtime.new_id() * 2), current=False)
    write_key_file(directory / "keys.json", keys, "draft", replace=False)
    runtime.close()
    variables = {
        "QUIVER_ENCRYPTION_KEY_FILE": str(directory / "keys.json"),
        "QUIVER_CACHE_FOLDER": str(directory / "cache"),
    }
    with serving(directory / "root", directory / "log", **variables) as server:
        yield Encrypted(server, f"arn:aws:kms:us-east-1:000000000000:key/{kms_key}")


@pytest.fixture(scope="session")
def azurite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Over a container of Azurite."""
    log = tmp_path_factory.mktemp("api-azurite") / "log"
    with Azurite() as azurite:
        root = f"az://{CONTAINER}/{fresh_prefix()}?account={ACCOUNT}&endpoint={azurite.endpoint}"
        with serving(root, log, AZURE_STORAGE_ACCOUNT_KEY=KEY) as server:
            yield server


@pytest.fixture(scope="session")
def ceph_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Over a bucket of the gateway that the environment leads to."""
    log = tmp_path_factory.mktemp("api-ceph") / "log"
    variables = {name: os.environ[name] for name in CEPH_VARIABLES}
    with serving(f"s3://{CEPH_BUCKET}/{fresh_prefix()}", log, **variables) as server:
        yield server


@pytest.fixture(scope="session")
def local_client(local_server: Server) -> Any:
    return connect(local_server.url)


@pytest.fixture
def bench(client: Any) -> Workbench:
    """The client under test with a vector bucket of this test's own."""
    return Workbench(client)


@pytest.fixture(scope="module")
def documents(client: Any) -> tuple[Workbench, dict[str, str]]:
    """An index of `DOCUMENTS`, made once: tests of filters only read it."""
    bench = Workbench(client)
    vectors = (record(key, [n, 1], metadata) for n, (key, metadata) in enumerate(DOCUMENTS.items()))
    return bench, bench.filled(*vectors, metadataConfiguration={"nonFilterableMetadataKeys": ["hidden"]})
