"""Stale names: a node that resolved a name long ago neither writes into a deleted index nor gets stuck on it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from quiver.engine.engine import IndexSealedError
from quiver.model.errors import NotFoundError
from service.deployment import NAMES, Deployment, record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from service.deployment import Node

NO_INDEX = "The specified index could not be found"
CREATE = {**NAMES, "dataType": "float32", "dimension": 2, "distanceMetric": "euclidean"}


def on_two_nodes(scenario: Callable[[Node, Node], Awaitable[None]]) -> None:
    """Run a scenario on two nodes that have both resolved the name of an index with one vector."""

    async def run() -> None:
        deployment = Deployment()
        here, there = await deployment.node(), await deployment.node()
        await here.create_index()
        await here.put(("k", [1, 2]))
        await there.put(("l", [1, 2]))
        await scenario(here, there)

    asyncio.run(run())


async def keys(node: Node) -> list[str]:
    return sorted(vector["key"] for vector in (await node.call("ListVectors", **NAMES))["vectors"])


def test_data_operations_ask_the_catalog_nothing() -> None:
    async def scenario(here: Node, there: Node) -> None:
        here.deployment.store.requests.clear()
        await here.put(("m", [1, 2]))
        await here.call("GetVectors", **NAMES, keys=["m"])
        await here.call("QueryVectors", **NAMES, topK=1, queryVector={"float32": [1, 2]})
        assert await keys(here) == ["k", "l", "m"]
        await here.call("DeleteVectors", **NAMES, keys=["m"])
        assert not here.deployment.store.requests

    on_two_nodes(scenario)


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("PutVectors", {"vectors": [record("k", [1, 2])]}),
        ("GetVectors", {"keys": ["k"]}),
        ("DeleteVectors", {"keys": ["k"]}),
        ("ListVectors", {}),
        ("QueryVectors", {"topK": 1, "queryVector": {"float32": [1, 2]}}),
    ],
)
def test_an_index_deleted_elsewhere_is_not_found(operation: str, params: dict) -> None:
    async def scenario(here: Node, there: Node) -> None:
        await there.call("DeleteIndex", **NAMES)
        for _ in range(2):
            await here.fails(operation, NotFoundError, NO_INDEX, **NAMES, **params)

    on_two_nodes(scenario)


def test_an_index_deleted_and_created_again_elsewhere_is_found() -> None:
    async def scenario(here: Node, there: Node) -> None:
        await there.call("DeleteIndex", **NAMES)
        await there.call("CreateIndex", **CREATE | {"dimension": 3})
        await here.put(("new", [1, 2, 3]))
        assert await keys(there) == await keys(here) == ["new"]

    on_two_nodes(scenario)


def test_a_deletion_cut_short_after_the_seal_is_finished_by_the_next_request() -> None:
    async def scenario(here: Node, there: Node) -> None:
        (content,) = here.deployment.shelf.values()
        content.sealed = True
        await here.fails("PutVectors", NotFoundError, NO_INDEX, **NAMES, vectors=[record("k", [1, 2])])
        await there.fails("GetIndex", NotFoundError, NO_INDEX, **NAMES)
        await there.call("CreateIndex", **CREATE)
        assert await keys(here) == await keys(there) == []

    on_two_nodes(scenario)


def test_two_nodes_may_finish_one_deletion() -> None:
    async def scenario(here: Node, there: Node) -> None:
        (content,) = here.deployment.shelf.values()
        content.sealed = True
        outcomes = await asyncio.gather(keys(here), keys(there), return_exceptions=True)
        assert all(isinstance(outcome, NotFoundError) for outcome in outcomes)

    on_two_nodes(scenario)


def test_a_deletion_cut_short_can_be_repeated() -> None:
    async def scenario(here: Node, there: Node) -> None:
        (content,) = here.deployment.shelf.values()
        content.sealed = True
        await there.call("DeleteIndex", **NAMES)
        await here.fails("GetIndex", NotFoundError, NO_INDEX, **NAMES)

    on_two_nodes(scenario)


def test_deletion_seals_before_the_name_goes() -> None:
    async def scenario(here: Node, there: Node) -> None:
        seal = here.engine.seal

        async def watched(index_id: str, spec: object) -> None:
            assert (await there.call("GetIndex", **NAMES))["index"]["indexName"] == "index"
            await seal(index_id, spec)

        here.engine.seal = watched
        await here.call("DeleteIndex", **NAMES)
        (content,) = here.deployment.shelf.values()
        assert content.sealed

    on_two_nodes(scenario)


def test_an_index_sealed_again_during_the_retry_is_not_found() -> None:
    async def scenario(here: Node, there: Node) -> None:
        await there.call("DeleteIndex", **NAMES)
        await there.call("CreateIndex", **CREATE)
        put = here.engine.open

        async def sealed_at_once(index_id: str, spec: object) -> object:
            await here.engine.seal(index_id, spec)
            return await put(index_id, spec)

        here.engine.open = sealed_at_once
        await here.fails("GetVectors", IndexSealedError, NO_INDEX, **NAMES, keys=["k"])
        await there.fails("GetIndex", NotFoundError, NO_INDEX, **NAMES)

    on_two_nodes(scenario)


def test_a_deletion_that_another_request_finished_has_succeeded() -> None:
    async def scenario(here: Node, there: Node) -> None:
        seal = here.engine.seal

        async def overtaken(index_id: str, spec: object) -> None:
            await seal(index_id, spec)
            await there.fails("GetVectors", NotFoundError, NO_INDEX, **NAMES, keys=["k"])

        here.engine.seal = overtaken
        await here.call("DeleteIndex", **NAMES)
        await here.fails("DeleteIndex", NotFoundError, NO_INDEX, **NAMES)

    on_two_nodes(scenario)
