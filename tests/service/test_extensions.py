"""The table of extensions: it stays beside that of S3 Vectors, and says what each operation needs."""

from __future__ import annotations

from typing import Any

import pytest

from quiver.model.errors import SerializationError
from quiver.service.extensions import EXTENSIONS, SERVED
from quiver.service.operations import OPERATIONS
from quiver.service.reading import READS
from quiver.service.roles import WRITES
from service.deployment import Node, on_node


def test_no_operation_of_s3_vectors_is_touched() -> None:
    assert not EXTENSIONS.keys() & OPERATIONS.keys()
    assert SERVED == {**OPERATIONS, **EXTENSIONS}


@pytest.mark.parametrize("name", EXTENSIONS)
def test_each_has_a_route_and_the_members_that_name_an_index(name: str) -> None:
    extension = EXTENSIONS[name]
    assert (extension.name, extension.method, extension.path) == (name, "POST", f"/quiver/{name}")
    assert {"vectorBucketName", "indexName", "indexArn"} <= extension.input.members.keys()
    assert set(extension.input.required) <= extension.input.members.keys()
    assert extension.has_body


@pytest.mark.parametrize("name", EXTENSIONS)
def test_each_names_its_action_and_those_of_s3_vectors_that_come_to_the_same_data(name: str) -> None:
    own, *others = EXTENSIONS[name].actions
    assert own == f"quiver:{name}"
    assert others
    assert {action.removeprefix("s3vectors:") for action in others} <= OPERATIONS.keys()
    assert "s3vectors:GetVectors" in others  # each tells something of what is stored


@pytest.mark.parametrize("name", EXTENSIONS)
def test_each_reads_or_writes_as_the_tables_of_roles_and_of_freshness_say(name: str) -> None:
    assert EXTENSIONS[name].writes == (name in WRITES)
    assert EXTENSIONS[name].writes != (name in READS)


@pytest.mark.parametrize("name", EXTENSIONS)
def test_a_member_of_the_wrong_type_is_refused_before_anything_happens(name: str) -> None:
    async def scenario(node: Node) -> None:
        for member in EXTENSIONS[name].input.members:
            if member != "filter":
                with pytest.raises(SerializationError, match=f"'/{member}'"):
                    await node.service.call(name, {member: {"never": [1]}})

    on_node(scenario)


@pytest.mark.parametrize("recall", [True, "0.9", [1]])
def test_a_recall_is_a_number(recall: Any) -> None:
    async def scenario(node: Node) -> None:
        with pytest.raises(SerializationError, match="'/recall' must be a number"):
            await node.service.call("QueryVectorsWithData", {"recall": recall})

    on_node(scenario)
