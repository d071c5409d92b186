"""The errors of the boto3-like client: one class per error code, shaped as botocore shapes them.

Where botocore is installed, every class is also a `botocore.exceptions.ClientError`, so code written for boto3
catches them unchanged. botocore is not imported before the first error or the first look at `exceptions`.
"""

from __future__ import annotations

import functools
import importlib.util
from typing import TYPE_CHECKING, Any

from quiver.model.errors import QuiverError, ValidationError

if TYPE_CHECKING:
    from quiver.model.errors import FieldError


class ClientError(Exception):
    """A refused or failed call.

    Attributes:
        response: what botocore puts there: `Error` (`Code`, `Message`), `ResponseMetadata`, `message`, and
            `fieldList` for a ValidationException that names fields.
        operation_name: as in the S3 Vectors model, e.g. `PutVectors`.
    """

    def __init__(self, error_response: dict[str, Any], operation_name: str) -> None:
        error = error_response["Error"]
        text = f"({error['Code']}) when calling the {operation_name} operation: {error['Message']}"
        # Not super(): beside botocore's class that would build botocore's own text from its own arguments.
        Exception.__init__(self, f"An error occurred {text}")
        self.response = error_response
        self.operation_name = operation_name

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.response, self.operation_name)


class Exceptions:
    """The error classes by name, as `client.exceptions` has them: `client.exceptions.NotFoundException`."""

    def __getattr__(self, name: str) -> type[ClientError]:
        if name == "ClientError":
            return _base()
        if name not in CODES:
            raise AttributeError(f"{type(self).__name__!r} has no exception {name!r}. Known: {', '.join(CODES)}")
        return error_class(name)

    def __dir__(self) -> list[str]:
        return ["ClientError", *CODES]


CODES = (
    "AccessDeniedException",
    "ConflictException",
    "InternalServerException",
    "KmsDisabledException",
    "KmsInvalidKeyUsageException",
    "KmsInvalidStateException",
    "KmsNotFoundException",
    "NotFoundException",
    "RequestTimeoutException",
    "ServiceQuotaExceededException",
    "ServiceUnavailableException",
    "TooManyRequestsException",
    "ValidationException",
)
"""The error shapes of the S3 Vectors model; a test compares them with botocore's."""


def client_error(error: QuiverError, operation: str) -> ClientError:
    """The client's form of an error of the core."""
    response: dict[str, Any] = {
        "Error": {"Message": error.message, "Code": error.code},
        "ResponseMetadata": {"HTTPStatusCode": error.status, "HTTPHeaders": {}, "RetryAttempts": 0},
        "message": error.message,
    }
    fields: tuple[FieldError, ...] = error.fields if isinstance(error, ValidationError) else ()
    if fields:
        response["fieldList"] = [{"path": field.path, "message": field.message} for field in fields]
    return error_class(error.code)(response, operation)


@functools.cache
def error_class(code: str) -> type[ClientError]:
    """The class of a code; one that the model does not know is a plain ClientError."""
    return type(code, (_base(),), {"__module__": __name__}) if code in CODES else _base()


@functools.cache
def _base() -> type[ClientError]:
    if importlib.util.find_spec("botocore") is None:
        return ClientError
    exceptions: Any = importlib.import_module("botocore.exceptions")
    return type("ClientError", (ClientError, exceptions.ClientError), {"__module__": __name__})


def _restore(response: dict[str, Any], operation: str) -> ClientError:
    return error_class(response["Error"]["Code"])(response, operation)
