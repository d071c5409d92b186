"""The pace of an index: which operations count for what, and that indexes do not slow each other down."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from quiver.model.errors import NotFoundError, ThrottledError, ValidationError
from quiver.service.pace import Pace
from quiver.service.rates import Rates
from service.deployment import NAMES, Deployment, MovableClock, record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from service.deployment import Node


class StandingClock(MovableClock):
    """Monotonic time that only moves when told to."""

    def __init__(self) -> None:
        super().__init__(threads=1)
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def at_pace(rates: Rates, scenario: Callable[[Node, StandingClock], Awaitable[None]]) -> None:
    """Run a scenario on an index that has had no vectors yet."""

    async def run() -> None:
        clock = StandingClock()
        node = await Deployment().node(pace=Pace(rates, clock))
        await node.create_index()
        await scenario(node, clock)

    asyncio.run(run())


async def refused(node: Node, operation: str, **params: Any) -> tuple[str, float]:
    with pytest.raises(ThrottledError) as caught:
        await node.call(operation, **(NAMES | params))
    assert (caught.value.status, caught.value.code) == (429, "TooManyRequestsException")
    return caught.value.limit, caught.value.seconds


def test_puts_and_deletes_count_together_and_reads_apart() -> None:
    async def scenario(node: Node, clock: StandingClock) -> None:
        await node.put(("a", [1, 2]))
        await node.call("DeleteVectors", **NAMES, keys=["a"])
        assert await refused(node, "DeleteVectors", keys=["a"]) == ("index_writes", 0.5)
        await node.call("GetVectors", **NAMES, keys=["a"])
        await node.call("ListVectors", **NAMES)
        query = {"queryVector": {"float32": [1, 2]}, "topK": 1}
        await node.call("QueryVectors", **NAMES, **query)
        for operation, params in (("QueryVectors", query), ("ListVectors", {}), ("GetVectors", {"keys": ["a"]})):
            assert await refused(node, operation, **params) == ("index_reads", pytest.approx(1 / 3))
        clock.now = 0.5
        await node.put(("a", [1, 2]))
        await node.call("ListVectors", **NAMES)

    at_pace(Rates(index_writes=2, index_reads=3), scenario)


def test_vectors_count_whether_they_come_or_go() -> None:
    async def scenario(node: Node, clock: StandingClock) -> None:
        await node.put(*((str(n), [1, n]) for n in range(6)))
        await node.call("DeleteVectors", **NAMES, keys=["1", "2", "2"])
        assert await refused(node, "PutVectors", vectors=[record(str(n), [1, n]) for n in range(3)]) == (
            "index_vectors",
            pytest.approx(0.1),
        )
        assert len((await node.call("ListVectors", **NAMES))["vectors"]) == 4
        await node.put(("a", [1, 2]), ("b", [1, 2]))

    at_pace(Rates(index_vectors=10), scenario)


def test_indexes_are_counted_apart_and_only_those_that_exist() -> None:
    async def scenario(node: Node, clock: StandingClock) -> None:
        await node.call(
            "CreateIndex",
            **NAMES | {"indexName": "other"},
            dataType="float32",
            dimension=2,
            distanceMetric="cosine",
        )
        await node.put(("a", [1, 2]))
        await refused(node, "DeleteVectors", keys=["a"])
        await node.call("DeleteVectors", **NAMES | {"indexName": "other"}, keys=["a"])
        for _ in range(3):
            with pytest.raises(NotFoundError):
                await node.call("DeleteVectors", **NAMES | {"indexName": "none"}, keys=["a"])

    at_pace(Rates(index_writes=1), scenario)


def test_a_batch_larger_than_a_second_of_vectors_is_let_in_and_paid_off() -> None:
    async def scenario(node: Node, clock: StandingClock) -> None:
        await node.put(*((str(n), [1, n]) for n in range(50)))
        assert await refused(node, "DeleteVectors", keys=["1"]) == ("index_vectors", pytest.approx(4.1))

    at_pace(Rates(index_vectors=10), scenario)


def test_a_request_that_is_wrong_anyway_counts_as_a_request_to_its_index() -> None:
    async def scenario(node: Node, clock: StandingClock) -> None:
        with pytest.raises(ValidationError):
            await node.put(("a", [1, 2, 3]))
        assert (await refused(node, "DeleteVectors", keys=["a"]))[0] == "index_writes"

    at_pace(Rates(index_writes=1), scenario)
