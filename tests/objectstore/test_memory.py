"""Tests of the store in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from objectstore.contract import Connections, ObjectStoreContract
from quiver.objectstore.memory import MemoryStore

if TYPE_CHECKING:
    from quiver.model.runtime import SystemRuntime


class TestMemoryStore(ObjectStoreContract):
    @pytest.fixture
    def connections(self, runtime: SystemRuntime) -> Connections:
        store = MemoryStore(runtime)
        return store, store
