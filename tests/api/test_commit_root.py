"""The contract on a server of two workers over a commit store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.contract import ApiContract
from api.roots import reason_to_skip
from api.vectors import VectorContract
from api.wire import WireContract
from api.workbench import connect

if TYPE_CHECKING:
    from cluster.processes import Server


@pytest.fixture(scope="module")
def client(commit_server: Server) -> Any:
    return connect(commit_server.url)


@pytest.fixture(scope="module")
def server(commit_server: Server) -> Server:
    return commit_server


SHARE = (VectorContract,)
WHOLE = (ApiContract, WireContract)


@pytest.mark.slow
class TestCommitRoot(*(SHARE if reason_to_skip("commit") else WHOLE)):
    """Everything where it is asked for; otherwise that what is written is what is read."""
