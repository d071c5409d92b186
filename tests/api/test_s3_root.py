"""The contract on a server of two workers over an S3 bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.contract import ApiContract
from api.wire import WireContract
from api.workbench import connect

if TYPE_CHECKING:
    from cluster.processes import Server


@pytest.fixture(scope="module")
def client(s3_server: Server) -> Any:
    return connect(s3_server.url)


@pytest.fixture(scope="module")
def server(s3_server: Server) -> Server:
    return s3_server


@pytest.mark.slow
class TestS3Root(ApiContract, WireContract):
    """Everything."""
