"""Tests of the remote store against Azurite. Skipped where that is not installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from objectstore.azurite import Azurite, missing
from objectstore.contract import Connections, ObjectStoreContract, run
from quiver.model.errors import StoreUnavailableError
from quiver.objectstore.probe import probe
from quiver.objectstore.store import StoreRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from quiver.model.runtime import SystemRuntime

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing() or "installed")]


@pytest.fixture(scope="module")
def azurite() -> Iterator[Azurite]:
    with Azurite() as running:
        yield running


class TestAzure(ObjectStoreContract):
    decides_large = False

    @pytest.fixture
    def connections(self, azurite: Azurite, fresh_path: Callable[[], str]) -> Connections:
        path = fresh_path()
        return azurite.store(path), azurite.store(path)

    def test_stays_under_its_prefix(self, azurite: Azurite, fresh_path: Callable[[], str]) -> None:
        path = fresh_path()

        async def work() -> None:
            await azurite.store(f"{path}/one").put_new("key", [b"1"])
            assert [info.key for info in await azurite.store(path).list("")] == ["one/key"]
            assert await azurite.store(f"{path}/on").list("") == []
            await azurite.store(f"{path}/on").delete(["e/key", "key"])
            assert [info.key for info in await azurite.store(f"{path}/one").list("")] == ["key"]

        run(work())

    def test_the_probe_finds_no_fault(self, connections: Connections, runtime: SystemRuntime) -> None:
        report = run(probe(connections[0], runtime, connections[1:], rounds=10, keys=100))
        assert report.ok, report.failed

    def test_a_missing_container_is_no_missing_object(self, azurite: Azurite) -> None:
        store = azurite.store("x", container="no-such-container")

        async def work() -> None:
            with pytest.raises(StoreRefusedError, match="not found"):
                await store.put_new("key", [b"1"])
            with pytest.raises(StoreUnavailableError, match="ContainerNotFound"):
                await store.get("key")
            with pytest.raises(StoreUnavailableError):
                await store.list("")

        run(work())
