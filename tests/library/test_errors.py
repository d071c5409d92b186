"""The client's errors: shaped as botocore shapes them, and caught as botocore's."""

import pickle
import subprocess
import sys

import botocore.exceptions
import botocore.parsers
import botocore.session
import orjson
import pytest

from quiver.library.errors import CODES, ClientError, Exceptions, client_error
from quiver.model.errors import (
    BusyError,
    FieldError,
    NotFoundError,
    QuiverError,
    SerializationError,
    ValidationError,
)

MODEL = botocore.session.get_session().get_service_model("s3vectors")
VALIDATION = ValidationError("Two problems", FieldError("/topK", "too small"), FieldError("/filter", "empty"))
ERRORS = [NotFoundError("The specified index could not be found"), BusyError("slow down"), VALIDATION]


def botocore_response(error: QuiverError) -> dict:
    """What botocore makes of the same error when a server sends it."""
    body = {"message": error.message}
    if isinstance(error, ValidationError):
        body["fieldList"] = [field._asdict() for field in error.fields]
    raw = {"status_code": error.status, "headers": {"x-amzn-errortype": error.code}, "body": orjson.dumps(body)}
    shape = MODEL.shape_for_error_code(error.code)
    parser = botocore.parsers.create_parser("rest-json")
    parsed = parser.parse(raw, None)
    parsed.update(parser._parse_shape(shape, body))
    return parsed


def test_the_classes_are_those_of_the_model() -> None:
    assert sorted(CODES) == sorted(shape.name for shape in MODEL.error_shapes)
    assert set(dir(Exceptions())) == {"ClientError", *CODES}


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: e.code)
def test_the_response_is_the_one_botocore_builds(error: QuiverError) -> None:
    ours = client_error(error, "QueryVectors").response
    theirs = botocore_response(error)
    assert ours["Error"] == theirs["Error"]
    assert ours["ResponseMetadata"]["HTTPStatusCode"] == theirs["ResponseMetadata"]["HTTPStatusCode"]
    assert {k: ours.get(k) for k in ("message", "fieldList")} == {
        k: theirs.get(k) for k in ("message", "fieldList")
    }


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: e.code)
def test_the_text_is_the_one_botocore_writes(error: QuiverError) -> None:
    theirs = botocore.exceptions.ClientError(botocore_response(error), "QueryVectors")
    assert str(client_error(error, "QueryVectors")) == str(theirs)


def test_an_error_is_caught_by_its_class_by_the_base_and_by_botocores_base() -> None:
    exceptions = Exceptions()
    error = client_error(NotFoundError("gone"), "GetIndex")
    assert isinstance(error, exceptions.NotFoundException)
    assert isinstance(error, exceptions.ClientError)
    assert isinstance(error, ClientError)
    assert isinstance(error, botocore.exceptions.ClientError)
    assert not isinstance(error, exceptions.ConflictException)
    assert error.operation_name == "GetIndex"


def test_a_code_outside_the_model_is_a_plain_client_error() -> None:
    error = client_error(SerializationError("not JSON"), "PutVectors")
    assert type(error) is Exceptions().ClientError
    assert error.response["Error"]["Code"] == "SerializationException"


def test_an_unknown_exception_name_says_which_exist() -> None:
    with pytest.raises(AttributeError, match="NotFoundException"):
        _ = Exceptions().NoSuchException


def test_errors_can_be_pickled() -> None:
    error = client_error(VALIDATION, "QueryVectors")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.response, str(copy)) == (type(error), error.response, str(error))


def test_without_botocore_the_same_classes_exist() -> None:
    program = """
import sys
sys.modules["botocore"] = None
import importlib.util
importlib.util.find_spec = lambda name: None
from quiver.library.errors import ClientError, Exceptions, client_error
from quiver.model.errors import NotFoundError
error = client_error(NotFoundError("gone"), "GetIndex")
assert isinstance(error, Exceptions().NotFoundException) and isinstance(error, ClientError)
print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "An error occurred (NotFoundException) when calling the GetIndex operation: gone\n", (
        done.stderr
    )
