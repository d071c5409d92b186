"""PutVectorsIfAbsent and UpdateMetadata through the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from quiver.model.errors import ConflictError, NotFoundError, ValidationError
from service.deployment import NAMES, Node, on_node, record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TOTAL = 2026  # bytes of a string that make a document of 2,048 with a key of 10


def with_index(scenario: Callable[[Node], Awaitable[None]]) -> None:
    """Run a scenario on an index that holds a and b."""

    async def run(node: Node) -> None:
        await node.create_index(metadataConfiguration={"nonFilterableMetadataKeys": ["long"]})
        await node.put(("a", [1, 1], {"n": 1, "s": "x"}), ("b", [2, 2]))
        await scenario(node)

    on_node(run)


async def stored(node: Node) -> dict[str, Any]:
    rows = await node.call("ListVectors", **NAMES, returnData=True, returnMetadata=True)
    return {row["key"]: (row["data"]["float32"], row["metadata"]) for row in rows["vectors"]}


OLD = {"a": ([1.0, 1.0], {"n": 1, "s": "x"}), "b": ([2.0, 2.0], {})}


# ---------------------------------------------------------------- PutVectorsIfAbsent


def test_only_absent_vectors_are_put() -> None:
    async def scenario(node: Node) -> None:
        vectors = [record("c", [3, 3], {"new": True}), record("a", [9, 9]), record("d", [4, 4])]
        answer = await node.service.call("PutVectorsIfAbsent", NAMES | {"vectors": vectors})
        assert answer.body == {"writtenKeys": ["c", "d"], "existingKeys": ["a"]}
        assert answer.commit == 2
        assert await stored(node) == OLD | {"c": ([3.0, 3.0], {"new": True}), "d": ([4.0, 4.0], {})}
        again = await node.service.call("PutVectorsIfAbsent", NAMES | {"vectors": vectors})
        assert again.body == {"writtenKeys": [], "existingKeys": ["c", "a", "d"]}
        assert again.commit == 2  # nothing was written

    with_index(scenario)


def test_a_deleted_vector_is_absent() -> None:
    async def scenario(node: Node) -> None:
        await node.call("DeleteVectors", **NAMES, keys=["a"])
        answer = await node.call("PutVectorsIfAbsent", **NAMES, vectors=[record("a", [5, 5])])
        assert answer == {"writtenKeys": ["a"], "existingKeys": []}
        assert (await stored(node))["a"] == ([5.0, 5.0], {})

    with_index(scenario)


def test_all_or_nothing_is_put() -> None:
    async def scenario(node: Node) -> None:
        vectors = [record("c", [3, 3]), record("b", [9, 9]), record("a", [9, 9])]
        message = "Nothing was written, because vectors exist already: 'b', 'a'"
        await node.fails("PutVectorsIfAbsent", ConflictError, message, **NAMES, vectors=vectors, allOrNothing=True)
        assert await stored(node) == OLD
        answer = await node.call("PutVectorsIfAbsent", **NAMES, vectors=vectors[:1], allOrNothing=True)
        assert answer == {"writtenKeys": ["c"], "existingKeys": []}

    with_index(scenario)


def test_a_conflict_names_ten_keys() -> None:
    async def scenario(node: Node) -> None:
        vectors = [record(f"k{n:02}", [1, 1]) for n in range(12)]
        await node.call("PutVectors", **NAMES, vectors=vectors)
        named = ", ".join(f"'k{n:02}'" for n in range(10))
        message = f"Nothing was written, because vectors exist already: {named} and 2 more"
        await node.fails("PutVectorsIfAbsent", ConflictError, message, **NAMES, vectors=vectors, allOrNothing=True)

    with_index(scenario)


def test_records_are_judged_as_those_of_a_put_whether_they_exist_or_not() -> None:
    async def scenario(node: Node) -> None:
        for key in ("a", "c"):
            message = f"Invalid record for key '{key}': vector must have length 2, but has length 1"
            for operation in ("PutVectors", "PutVectorsIfAbsent"):
                await node.fails(
                    operation, ValidationError, message, **NAMES, vectors=[record("d", [1, 1]), record(key, [1])]
                )
        assert await stored(node) == OLD

    with_index(scenario)


@pytest.mark.parametrize(
    ("operation", "member", "make"),
    [
        ("PutVectorsIfAbsent", "vectors", lambda key: record(key, [1, 1])),
        ("UpdateMetadata", "updates", lambda key: {"key": key, "metadata": {"n": 2}}),
    ],
)
def test_a_key_is_given_once(operation: str, member: str, make: Callable[[str], dict[str, Any]]) -> None:
    async def scenario(node: Node) -> None:
        error = await node.fails(
            operation,
            ValidationError,
            "The key is given more than once",
            **NAMES,
            **{member: [make("a"), make("z"), make("a")]},
        )
        assert [field.path for field in error.fields] == [f"{member}[2].key"]
        too_long = "k" + "\u00e9" * 512
        await node.fails(
            operation,
            ValidationError,
            "Record key length exceeds the maximum allowed",
            **NAMES,
            **{member: [make(too_long)]},
        )
        assert await stored(node) == OLD

    with_index(scenario)


# ---------------------------------------------------------------- UpdateMetadata


async def update(node: Node, *updates: tuple[str, Any], **more: Any) -> dict[str, Any]:
    given = [{"key": key, "metadata": metadata} for key, metadata in updates]
    return await node.call("UpdateMetadata", **NAMES, updates=given, **more)


def test_metadata_are_merged_and_vectors_stay() -> None:
    async def scenario(node: Node) -> None:
        answer = await update(node, ("a", {"n": 2, "s": None, "l": ["x"], "unknown": None}), ("b", {"t": 0.5}))
        assert answer == {"updatedCount": 2, "missingKeys": []}
        assert await stored(node) == {
            "a": ([1.0, 1.0], {"n": 2, "l": ["x"]}),
            "b": ([2.0, 2.0], {"t": 0.5}),
        }
        await update(node, ("a", {}), mode="MERGE")
        assert (await stored(node))["a"] == ([1.0, 1.0], {"n": 2, "l": ["x"]})

    with_index(scenario)


def test_metadata_are_replaced() -> None:
    async def scenario(node: Node) -> None:
        answer = await update(node, ("a", {"only": 1}), ("b", {}), mode="REPLACE")
        assert answer == {"updatedCount": 2, "missingKeys": []}
        assert await stored(node) == {"a": ([1.0, 1.0], {"only": 1}), "b": ([2.0, 2.0], {})}
        message = "Invalid record for key 'a': Metadata values must be strings, numbers, booleans, or arrays"
        await node.fails(
            "UpdateMetadata",
            ValidationError,
            message,
            **NAMES,
            updates=[{"key": "a", "metadata": {"only": None}}],
            mode="REPLACE",
        )

    with_index(scenario)


def test_missing_vectors_are_reported_and_never_made() -> None:
    async def scenario(node: Node) -> None:
        await node.call("DeleteVectors", **NAMES, keys=["b"])
        answer = await update(node, ("z", {"n": 1}), ("a", {"n": 5}), ("b", {"n": 1}))
        assert answer == {"updatedCount": 1, "missingKeys": ["z", "b"]}
        assert await stored(node) == {"a": ([1.0, 1.0], {"n": 5, "s": "x"})}
        message = "Nothing was written, because vectors do not exist: 'b'"
        await node.fails(
            "UpdateMetadata",
            ConflictError,
            message,
            **NAMES,
            updates=[{"key": "a", "metadata": {"n": 6}}, {"key": "b", "metadata": {"n": 6}}],
            allOrNothing=True,
        )
        assert await stored(node) == {"a": ([1.0, 1.0], {"n": 5, "s": "x"})}

    with_index(scenario)


def test_the_limits_hold_for_what_metadata_become() -> None:
    async def scenario(node: Node) -> None:
        await update(node, ("a", {"a" * 10: "x" * TOTAL, "n": None, "s": None}))
        message = "Invalid record for key 'a': Filterable metadata must have at most 2048 bytes"
        error = await node.fails(
            "UpdateMetadata",
            ValidationError,
            message,
            **NAMES,
            updates=[{"key": "b", "metadata": {"n": 1}}, {"key": "a", "metadata": {"n": 1}}],
        )
        assert [field.path for field in error.fields] == ["updates[1].metadata"]
        assert (await stored(node))["b"] == ([2.0, 2.0], {})  # nothing of the request was written
        await update(node, ("a", {"long": "y" * 30_000}))
        assert set((await stored(node))["a"][1]) == {"a" * 10, "long"}

    with_index(scenario)


@pytest.mark.parametrize(
    "metadata", [[], "x", 1, True, {"a": {"b": 1}}, {"a": []}, {"a": [None]}, {"a": [1, "x"]}]
)
@pytest.mark.parametrize("mode", ["MERGE", "REPLACE"])
@pytest.mark.parametrize("key", ["a", "missing"])
def test_metadata_outside_the_rules_are_refused_whether_the_vector_exists_or_not(
    metadata: Any, mode: str, key: str
) -> None:
    async def scenario(node: Node) -> None:
        with pytest.raises(ValidationError) as caught:
            await update(node, (key, metadata), mode=mode)
        assert caught.value.message.startswith(f"Invalid record for key '{key}': ")
        assert await stored(node) == OLD

    with_index(scenario)


def test_an_index_that_is_not_there_is_not_found() -> None:
    async def scenario(node: Node) -> None:
        for operation, given in (
            ("UpdateMetadata", {"updates": [{"key": "a", "metadata": {}}]}),
            ("PutVectorsIfAbsent", {"vectors": [record("a", [1, 1])]}),
        ):
            names = NAMES | {"indexName": "another"}
            await node.fails(operation, NotFoundError, "The specified index could not be found", **names, **given)

    with_index(scenario)
