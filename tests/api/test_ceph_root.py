"""The contract on a server of two workers over a Ceph gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.contract import ApiContract
from api.roots import reason_to_skip
from api.wire import WireContract
from api.workbench import connect

if TYPE_CHECKING:
    from cluster.processes import Server

if reason := reason_to_skip("ceph"):
    pytest.skip(reason, allow_module_level=True)


@pytest.fixture(scope="module")
def client(ceph_server: Server) -> Any:
    return connect(ceph_server.url)


@pytest.fixture(scope="module")
def server(ceph_server: Server) -> Server:
    return ceph_server


@pytest.mark.slow
class TestCephRoot(ApiContract, WireContract):
    """Everything."""
