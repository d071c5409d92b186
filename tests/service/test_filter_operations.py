"""CountVectors, ListVectorsByFilter and DeleteVectorsByFilter through the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from quiver.model.errors import NotFoundError, ValidationError
from quiver.service import filter_operations
from service.deployment import NAMES, Node, on_node

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HIDDEN = {"metadataConfiguration": {"nonFilterableMetadataKeys": ["hidden"]}}


def with_rows(scenario: Callable[[Node], Awaitable[None]], count: int = 10) -> None:
    """Run a scenario on an index of vectors k0, k1, ..., each with its number, and whether it is odd."""

    async def run(node: Node) -> None:
        await node.create_index(**HIDDEN)
        await node.put(*((f"k{n}", [n, 0], {"n": n, "odd": n % 2 == 1, "hidden": "x"}) for n in range(count)))
        await scenario(node)

    on_node(run)


async def keys(node: Node) -> set[str]:
    return {row["key"] for row in (await node.call("ListVectors", **NAMES))["vectors"]}


def test_vectors_are_counted_all_or_those_that_match() -> None:
    async def scenario(node: Node) -> None:
        assert await node.call("CountVectors", **NAMES) == {"count": 10}
        assert await node.call("CountVectors", **NAMES, filter={"odd": True}) == {"count": 5}
        assert await node.call("CountVectors", **NAMES, filter={"n": {"$gte": 100}}) == {"count": 0}
        await node.call("DeleteVectors", **NAMES, keys=["k1", "k2"])
        assert await node.call("CountVectors", **NAMES) == {"count": 8}
        assert (await node.service.call("CountVectors", NAMES)).commit == 2

    with_rows(scenario)


def test_vectors_that_match_are_listed_in_the_order_of_a_listing() -> None:
    async def scenario(node: Node) -> None:
        everything = await node.call("ListVectors", **NAMES, returnData=True, returnMetadata=True)
        odd = [row for row in everything["vectors"] if row["metadata"]["odd"]]
        shown = {"filter": {"odd": True}, "returnData": True, "returnMetadata": True}
        assert await node.call("ListVectorsByFilter", **NAMES, **shown) == {"vectors": odd}
        pages = await node.pages("ListVectorsByFilter", "vectors", **NAMES, **shown, maxResults=2)
        assert [len(page) for page in pages] == [2, 2, 1]
        assert [row for page in pages for row in page] == odd
        bare = await node.call("ListVectorsByFilter", **NAMES, filter={"n": 3})
        assert bare == {"vectors": [{"key": "k3"}]}

    with_rows(scenario)


def test_a_token_of_a_listing_fits_its_filter_only() -> None:
    async def scenario(node: Node) -> None:
        page = await node.call("ListVectorsByFilter", **NAMES, filter={"odd": True}, maxResults=1)
        for filter_ in ({"odd": False}, {"$and": [{"odd": True}]}):
            await node.fails(
                "ListVectorsByFilter",
                ValidationError,
                "Invalid page token",
                **NAMES,
                filter=filter_,
                nextToken=page["nextToken"],
            )
        plain = await node.call("ListVectors", **NAMES, maxResults=1)
        await node.fails(
            "ListVectorsByFilter",
            ValidationError,
            "Invalid page token",
            **NAMES,
            filter={"odd": True},
            nextToken=plain["nextToken"],
        )

    with_rows(scenario)


def test_what_matches_is_deleted_and_nothing_else() -> None:
    async def scenario(node: Node) -> None:
        removed = await node.call("DeleteVectorsByFilter", **NAMES, filter={"odd": True})
        assert removed == {"matchingCount": 5, "deletedCount": 5}
        assert await keys(node) == {"k0", "k2", "k4", "k6", "k8"}
        again = await node.service.call("DeleteVectorsByFilter", NAMES | {"filter": {"odd": True}})
        assert again.body == {"matchingCount": 0, "deletedCount": 0}
        assert again.commit == 2

    with_rows(scenario)


def test_a_dry_run_counts_and_deletes_nothing() -> None:
    async def scenario(node: Node) -> None:
        counted = await node.call("DeleteVectorsByFilter", **NAMES, filter={"odd": True}, dryRun=True)
        assert counted == {"matchingCount": 5, "deletedCount": 0}
        assert len(await keys(node)) == 10
        assert await node.call("CountVectors", **NAMES) == {"count": 10}

    with_rows(scenario)


def test_a_large_deletion_goes_in_several_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filter_operations, "DELETED_AT_ONCE", 4)

    async def scenario(node: Node) -> None:
        removed = await node.service.call("DeleteVectorsByFilter", NAMES | {"filter": {"n": {"$gte": 1}}})
        assert removed.body == {"matchingCount": 9, "deletedCount": 9}
        assert removed.commit == 1 + 3
        assert await keys(node) == {"k0"}

    with_rows(scenario)


@pytest.mark.parametrize("operation", ["CountVectors", "ListVectorsByFilter", "DeleteVectorsByFilter"])
def test_filters_are_as_strict_as_those_of_queries(operation: str) -> None:
    async def scenario(node: Node) -> None:
        bad: list[Any] = [{}, {"odd": True, "n": 1}, {"n": {"$x": 1}}, [], "x"]
        for filter_ in bad:
            error = await node.fails(operation, ValidationError, "Invalid filter", **NAMES, filter=filter_)
            assert [field.path for field in error.fields] == ["filter"]
        forbidden = "Invalid use of non-filterable metadata in filter"
        await node.fails(operation, ValidationError, forbidden, **NAMES, filter={"hidden": "x"})
        await node.fails(
            operation,
            NotFoundError,
            "The specified index could not be found",
            **NAMES | {"indexName": "another"},
            filter={"n": 1},
        )
        assert len(await keys(node)) == 10

    with_rows(scenario)


@pytest.mark.parametrize("operation", ["ListVectorsByFilter", "DeleteVectorsByFilter"])
def test_a_filter_is_required(operation: str) -> None:
    """Nothing is deleted by a request that forgot its filter."""

    async def scenario(node: Node) -> None:
        message = (
            "1 validation error detected. Value at '/filter' failed to satisfy constraint: Member must not be null"
        )
        for given in ({}, {"filter": None}):
            await node.fails(operation, ValidationError, message, **NAMES, **given)
        assert len(await keys(node)) == 10

    with_rows(scenario)
