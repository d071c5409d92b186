"""The running servers that the API tests share: one over a local directory, one over an S3 bucket."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from api.queries import DOCUMENTS
from api.workbench import Workbench, connect, record
from cluster.processes import Moto, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


@pytest.fixture(scope="session")
def local_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers over one directory."""
    directory = tmp_path_factory.mktemp("api")
    with Server(directory / "root", workers=2, log=directory / "log") as server:
        yield server
        assert server.stop() == 0
        assert "unforeseen" not in (directory / "log").read_text()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers over a bucket of moto's S3 server."""
    log = tmp_path_factory.mktemp("api-s3") / "log"
    with Moto() as moto:
        root = f"s3://{moto.BUCKET}/api-{secrets.token_hex(4)}"
        with Server(root, workers=2, log=log, **moto.variables()) as server:
            yield server
            assert server.stop() == 0
        assert "unforeseen" not in log.read_text()


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
