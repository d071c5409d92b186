"""What the storage tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from quiver.model.runtime import SystemRuntime
from quiver.objectstore.memory import MemoryStore
from storage.scripted_store import ScriptedStore

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def runtime() -> Iterator[SystemRuntime]:
    runtime = SystemRuntime(threads=2)
    yield runtime
    runtime.close()


@pytest.fixture
def store(runtime: SystemRuntime) -> ScriptedStore:
    return ScriptedStore(MemoryStore(runtime))
