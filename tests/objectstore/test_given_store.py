"""The contract on whatever store STORE_UNDER_TEST names, e.g. `s3://bucket/prefix`.

Credentials and endpoint come from the environment. Skipped when the variable is not set.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from objectstore.contract import PARTS, Connections, ObjectStoreContract, run
from quiver.assemble import open_store
from quiver.objectstore import remote
from quiver.objectstore.probe import probe

if TYPE_CHECKING:
    from collections.abc import Callable

    from quiver.model.runtime import SystemRuntime

GIVEN = os.environ.get("STORE_UNDER_TEST", "")


@pytest.mark.skipif(not GIVEN, reason="STORE_UNDER_TEST names no store")
class TestGivenStore(ObjectStoreContract):
    decides_large = False

    @pytest.fixture(autouse=True)
    def small_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(remote, "LARGE", PARTS)

    @pytest.fixture
    def connections(self, runtime: SystemRuntime, fresh_path: Callable[[], str]) -> Connections:
        base, query, options = GIVEN.partition("?")
        root = f"{base.rstrip('/')}/{fresh_path()}{query}{options}"
        return open_store(root, runtime), open_store(root, runtime)

    def test_the_probe_finds_no_fault(self, connections: Connections, runtime: SystemRuntime) -> None:
        report = run(probe(connections[0], runtime, connections[1:]))
        assert report.ok, report.failed
