"""Every row of the catalogue of errors, in its exact words, as boto3 reads them; the model knows their codes."""

from __future__ import annotations

from typing import Any

import pytest
from botocore import xform_name

from api.error_rows import ELSEWHERE, ROWS, Row, Scene
from api.workbench import Workbench, record, refusal

UNMODELLED = {
    "ValidationException", "SerializationException", "MissingAuthenticationTokenException",
    "IncompleteSignatureException", "UnrecognizedClientException", "InvalidSignatureException",
    "UnknownOperationException", "MethodNotAllowedException", "UnsupportedMediaTypeException",
    "ExpiredTokenException",
}  # fmt: skip
"""Codes that AWS answers with on every service, or that no operation of the model lists."""


@pytest.fixture(scope="module")
def scene(local_client: Any) -> Scene:
    bench = Workbench(local_client)
    texts = [{"metadataKey": "body"}]
    configuration = {"nonFilterableMetadataKeys": ["hidden"], "textSearchConfigurations": texts}
    names = bench.filled(record("a", [1, 2]), metric="cosine", metadataConfiguration=configuration)
    return Scene(bench.bucket, names["indexName"])


@pytest.mark.parametrize("row", ROWS, ids=[row.situation for row in ROWS])
def test_a_situation(row: Row, scene: Scene, local_client: Any) -> None:
    error = refusal(getattr(local_client, xform_name(row.operation)), **row.arguments(scene))
    assert (error.code, error.status) == (row.code, row.status)
    if row.message.endswith("..."):
        assert error.message.startswith(row.message.removesuffix("..."))
    else:
        assert error.message == row.message
    assert error.fields == ([(row.path, row.field)] if row.path else [])


def test_situations_are_listed_once() -> None:
    situations = [row.situation for row in (*ROWS, *ELSEWHERE)]
    assert len(set(situations)) == len(situations) >= 60


@pytest.mark.parametrize("row", ROWS, ids=[row.situation for row in ROWS])
def test_the_model_lists_the_code_for_the_operation(row: Row, local_client: Any) -> None:
    modelled = {
        shape.name for shape in local_client.meta.service_model.operation_model(row.operation).error_shapes
    }
    assert row.code in modelled | UNMODELLED


def test_the_model_lists_the_other_codes(local_client: Any) -> None:
    modelled = {shape.name for shape in local_client.meta.service_model.error_shapes}
    assert {row.code for row in ELSEWHERE} <= modelled | UNMODELLED
