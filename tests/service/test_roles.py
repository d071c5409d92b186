"""What processes of each role refuse."""

from __future__ import annotations

import pytest

from quiver.model.errors import AccessDeniedError, QuiverError
from quiver.service.extensions import EXTENSIONS, SERVED
from quiver.service.roles import WRITES, Role
from service.deployment import NAMES, Node, on_node
from service.test_service import LIFE

READING = {
    "GetIndex",
    "GetVectorBucket",
    "GetVectorBucketPolicy",
    "GetVectors",
    "ListIndexes",
    "ListTagsForResource",
    "ListVectorBuckets",
    "ListVectors",
    "QueryVectors",
    "CountVectors",
    "ListVectorsByFilter",
    "QueryVectorsWithData",
    "BatchQueryVectors",
}
EXTENDED = [
    (name, NAMES | {member: None for member in EXTENSIONS[name].input.members if member not in NAMES})
    for name in EXTENSIONS
]
"""Requests of all extensions; what they lack is only seen where there is such an operation."""


def test_every_operation_either_reads_or_writes() -> None:
    assert WRITES.isdisjoint(READING)
    assert set(SERVED) == WRITES | READING


@pytest.mark.parametrize(
    ("role", "refused", "text"),
    [
        (Role.ALL, set(), ""),
        (Role.WRITER, set(), ""),
        (Role.READER, WRITES, "This server only reads"),
        (Role.MAINTAINER, set(SERVED), "This server only maintains"),
    ],
)
def test_a_role_refuses_its_operations_and_no_other(role: Role, refused: set[str], text: str) -> None:
    async def scenario(node: Node) -> None:
        await node.create_index(dimension=1, metric="cosine")
        service = (await node.deployment.node(role)).service
        for operation, params in [*LIFE, *EXTENDED]:
            try:
                await service.call(operation, params)
            except AccessDeniedError as error:
                assert operation in refused
                assert error.message.startswith(text)  # noqa: PT017
                assert error.status == 403  # noqa: PT017
            except QuiverError:
                assert operation not in refused
            else:
                assert operation not in refused

    on_node(scenario)


def test_a_reader_that_meets_a_sealed_index_leaves_its_name_alone() -> None:
    async def scenario(node: Node) -> None:
        await node.create_index()
        await node.put(("k", [1, 2]))
        (content,) = node.deployment.shelf.values()
        content.sealed = True
        with pytest.raises(QuiverError) as caught:
            await (await node.deployment.node(Role.READER)).service.call("ListVectors", NAMES)
        assert caught.value.status == 404
        assert [index.name for index in await node.catalog.read(lambda state: list(state.indexes()))] == ["index"]

    on_node(scenario)
