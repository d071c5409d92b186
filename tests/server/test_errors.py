"""Errors on the wire: the codes and statuses of the model, and silence about everything else."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import botocore
import pytest

from quiver.model import errors as tree
from quiver.server.errors import Refusal, error_reply


def leaves(cls: type) -> list[type]:
    return [
        cls,
        *(leaf for sub in cls.__subclasses__() if sub.__module__ == tree.__name__ for leaf in leaves(sub)),
    ]


def model_errors() -> dict[str, int]:
    data = Path(botocore.__file__).parent / "data/s3vectors/2025-07-15/service-2.json.gz"
    shapes = json.loads(gzip.decompress(data.read_bytes()))["shapes"]
    return {
        name: shape.get("error", {}).get("httpStatusCode", 400)
        for name, shape in shapes.items()
        if shape.get("exception")
    }


@pytest.mark.parametrize("cls", leaves(tree.QuiverError), ids=lambda cls: cls.__name__)
def test_statuses_agree_with_the_model(cls):
    reply = error_reply(cls("text"))
    assert reply.status == cls.status
    assert model_errors().get(cls.code, reply.status) == reply.status
    assert (b"x-amzn-errortype", cls.code.encode()) in reply.headers


def test_a_validation_error_lists_its_fields():
    error = tree.ValidationError("two", tree.FieldError("/a", "first"), tree.FieldError("/b", "second"))
    fields = [{"path": "/a", "message": "first"}, {"path": "/b", "message": "second"}]
    assert json.loads(error_reply(error).body) == {"message": "two", "fieldList": fields}
    assert json.loads(error_reply(tree.ValidationError("one")).body) == {"message": "one"}


def test_errors_worth_a_retry_say_when():
    assert (b"retry-after", b"1") in error_reply(tree.BusyError("x")).headers
    assert (b"retry-after", b"1") in error_reply(tree.OutcomeUnknownError("x")).headers
    assert (b"retry-after", b"1") not in error_reply(tree.NotFoundError("x")).headers


@pytest.mark.parametrize(
    "error", [KeyError("secret"), MemoryError(), RecursionError("secret"), tree.QuiverError("secret")]
)
def test_an_unforeseen_error_says_nothing(error):
    reply = error_reply(error)
    assert (reply.status, reply.code) == (500, "InternalServerException")
    assert json.loads(reply.body) == {"message": "Internal server error"}


def test_a_message_that_utf8_cannot_carry_is_mended():
    reply = error_reply(tree.NotFoundError("no \ud800 here"))
    assert json.loads(reply.body) == {"message": "no ? here"}


def test_a_refusal_may_end_the_connection():
    assert error_reply(Refusal(400, "X", "y", close=True)).close
    assert not error_reply(Refusal(400, "X", "y")).close
