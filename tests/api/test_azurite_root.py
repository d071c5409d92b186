"""The contract on a server of two workers over Azurite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.contract import ApiContract
from api.roots import reason_to_skip
from api.wire import WireContract
from api.workbench import connect

if TYPE_CHECKING:
    from cluster.processes import Server

if reason := reason_to_skip("azurite"):
    pytest.skip(reason, allow_module_level=True)


@pytest.fixture(scope="module")
def client(azurite_server: Server) -> Any:
    return connect(azurite_server.url)


@pytest.fixture(scope="module")
def server(azurite_server: Server) -> Server:
    return azurite_server


@pytest.mark.slow
class TestAzuriteRoot(ApiContract, WireContract):
    """Everything."""
