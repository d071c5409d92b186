"""How fresh reads have to be: what requests ask for, over what the service is set to."""

from __future__ import annotations

from typing import Any

import pytest

from quiver.engine.engine import Freshness
from quiver.model.errors import ValidationError
from quiver.service.reading import AS_SET, READS, Reading, freshness_of
from service.deployment import NAMES, Node, on_node

EVENTUAL = Freshness(eventual=True)


@pytest.mark.parametrize(
    ("reading", "default", "due"),
    [
        (AS_SET, Freshness(), Freshness()),
        (AS_SET, EVENTUAL, EVENTUAL),
        (Reading("eventual"), Freshness(), EVENTUAL),
        (Reading("strong"), EVENTUAL, Freshness()),
        (Reading(at_least=7), EVENTUAL, Freshness(eventual=True, at_least=7)),
        (Reading("strong", "0012"), EVENTUAL, Freshness(at_least=12)),
        (Reading("eventual", str(2**63 - 1)), Freshness(), Freshness(eventual=True, at_least=2**63 - 1)),
    ],
)
def test_what_is_asked_for_comes_before_what_is_set(reading: Reading, default: Freshness, due: Freshness) -> None:
    assert freshness_of(reading, default) == due


@pytest.mark.parametrize(
    ("reading", "member"),
    [(Reading(given), "x-quiver-consistency") for given in ("", "Strong", "weak", "strong ")]
    + [
        (Reading(None, given), "x-quiver-at-least")
        for given in ("", "-1", "+1", "1.0", "1e3", "0x1", " 1", "1_0", "٣", str(2**63), "9" * 400, -1, True, 1.5)
    ],
)
def test_anything_else_is_refused(reading: Reading, member: str) -> None:
    with pytest.raises(ValidationError) as caught:
        freshness_of(reading)
    assert [field.path for field in caught.value.fields] == [member]


ASKED: dict[str, dict[str, Any]] = {
    "GetVectors": {"keys": ["k"]},
    "ListVectors": {},
    "QueryVectors": {"topK": 1, "queryVector": {"float32": [1, 2]}},
    "CountVectors": {},
    "ListVectorsByFilter": {"filter": {"a": 1}},
    "QueryVectorsWithData": {"topK": 1, "queryVector": {"float32": [1, 2]}},
    "BatchQueryVectors": {"queries": [{"topK": 1, "queryVector": {"float32": [1, 2]}}]},
}


def test_every_read_of_vectors_is_as_fresh_as_asked() -> None:
    assert set(ASKED) == READS

    async def scenario(node: Node) -> None:
        await node.create_index()
        await node.put(("k", [1, 2]))
        (content,) = node.deployment.shelf.values()
        for operation, params in ASKED.items():
            await node.service.call(operation, NAMES | params, Reading("eventual", 1))
            assert content.asked.pop() == Freshness(eventual=True, at_least=1)
            await node.service.call(operation, NAMES | params)
            assert content.asked.pop() == Freshness()
            with pytest.raises(ValidationError):
                await node.service.call(operation, NAMES | params, Reading("weak"))
        assert content.asked == []

    on_node(scenario)


def test_a_service_has_a_default_of_its_own() -> None:
    async def scenario(node: Node) -> None:
        await node.create_index()
        await node.put(("k", [1, 2]))
        (content,) = node.deployment.shelf.values()
        other = await node.deployment.node(freshness=EVENTUAL)
        for operation, params in ASKED.items():
            await other.service.call(operation, NAMES | params)
            assert content.asked.pop() == EVENTUAL

    on_node(scenario)
