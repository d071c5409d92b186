"""The contract on a server of two workers over a local directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.contract import ApiContract
from api.wire import WireContract

if TYPE_CHECKING:
    from cluster.processes import Server


@pytest.fixture(scope="module")
def client(local_client: Any) -> Any:
    return local_client


@pytest.fixture(scope="module")
def server(local_server: Server) -> Server:
    return local_server


class TestLocalRoot(ApiContract, WireContract):
    """Everything."""
