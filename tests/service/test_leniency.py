"""The lenient mode: what a setting says, and that a server that was not told stays strict."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quiver.model.errors import ValidationError
from quiver.service.leniency import STRICT, Leniency, read_leniency
from service.deployment import NAMES, Deployment, Node, record


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("", STRICT),
        ("0", STRICT),
        ("1", Leniency(filters=True, filterable_bytes=40_960)),
        ("filters", Leniency(filters=True, filterable_bytes=2_048)),
        ("metadata", Leniency(filters=False, filterable_bytes=40_960)),
        (" metadata:8192 , filters ", Leniency(filters=True, filterable_bytes=8_192)),
        ("metadata:2048", STRICT),
        ("metadata:40960", Leniency(filterable_bytes=40_960)),
    ],
)
def test_a_setting_says_what_is_accepted(text: str, due: Leniency) -> None:
    assert read_leniency(text) == due


@pytest.mark.parametrize(
    "text",
    ["2", "yes", "filters:1", "filter", "metadata:2047", "metadata:40961", "metadata:x", "metadata:-1", ","],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        read_leniency(text)


def run(leniency: Leniency, scenario: Any) -> None:
    async def on_two_nodes() -> None:
        deployment = Deployment()
        lenient = await deployment.node(leniency=leniency)
        await lenient.create_index(metadataConfiguration={"nonFilterableMetadataKeys": ["hidden"]})
        await lenient.put(("ab", [1, 1], {"a": 1, "b": 2}), ("a", [2, 2], {"a": 1}), ("b", [3, 3], {"b": 2}))
        await scenario(lenient, await deployment.node())

    asyncio.run(on_two_nodes())


async def found(node: Node, condition: Any) -> set[str]:
    page = await node.call("QueryVectors", **NAMES, topK=9, queryVector={"float32": [1, 1]}, filter=condition)
    listed = await node.call("ListVectorsByFilter", **NAMES, filter=condition)
    assert {row["key"] for row in page["vectors"]} == {row["key"] for row in listed["vectors"]}
    return {row["key"] for row in page["vectors"]}


def test_several_keys_of_a_filter_all_have_to_match() -> None:
    async def scenario(lenient: Node, strict: Node) -> None:
        several: list[tuple[Any, set[str]]] = [
            ({"a": 1, "b": 2}, {"ab"}),
            ({"a": 1, "b": {"$exists": False}}, {"a"}),
            ({"$or": [{"a": 1}, {"b": 2}], "b": 2}, {"ab", "b"}),
            ({"$and": [{"a": 1, "b": 2}, {"a": {"$gte": 1}}]}, {"ab"}),
        ]
        for condition, keys in several:
            assert await found(lenient, condition) == keys
            with pytest.raises(ValidationError, match="Invalid filter"):
                await found(strict, condition)
        bad: list[Any] = [{}, {"a": 1, "b": {}}, {"a": 1, "$x": 2}, {"$and": []}, {"a": 1, "hidden": "x"}]
        for condition in bad:
            with pytest.raises(ValidationError, match="Invalid"):
                await found(lenient, condition)
        assert await found(lenient, {f"k{n}": {"$exists": False} for n in range(100)}) == {"ab", "a", "b"}
        with pytest.raises(ValidationError, match="more than 100 constraints"):
            await found(lenient, {f"k{n}": 1 for n in range(101)})

    run(Leniency(filters=True), scenario)


def test_filterable_metadata_may_be_larger() -> None:
    async def scenario(lenient: Node, strict: Node) -> None:
        large = [record("large", [1, 1], {"f": "x" * (8_192 - 13), "hidden": "y" * 30_000})]
        await lenient.call("PutVectors", **NAMES, vectors=large)
        assert await found(strict, {"f": large[0]["metadata"]["f"]}) == {"large"}
        text = "Invalid record for key 'large': Filterable metadata must have at most {} bytes"
        await strict.fails("PutVectors", ValidationError, text.format(2048), **NAMES, vectors=large)
        larger = [record("large", [1, 1], {"f": "x" * (8_193 - 13)})]
        await lenient.fails("PutVectors", ValidationError, text.format(8192), **NAMES, vectors=larger)
        await lenient.fails("PutVectorsIfAbsent", ValidationError, text.format(8192), **NAMES, vectors=larger)
        update = [{"key": "large", "metadata": {"g": 1}}]
        await lenient.fails("UpdateMetadata", ValidationError, text.format(8192), **NAMES, updates=update)

    run(Leniency(filterable_bytes=8_192), scenario)
