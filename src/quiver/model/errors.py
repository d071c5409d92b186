"""Every error Quiver raises, as one tree grouped by what the caller does next.

    QuiverError
    |-- RequestError                  change the request
    |   |-- ValidationError           400 ValidationException, with the paths of the fields at fault
    |   |-- SerializationError        400 SerializationException: the body is not acceptable JSON
    |   |-- AccessDeniedError         403
    |   |-- NotFoundError             404
    |   |-- ConflictError             409
    |   `-- QuotaExceededError        402
    |-- RetryError                    send the same request again later
    |   |-- BusyError                 429: the index takes no more writes for the moment
    |   |   `-- ThrottledError          429: a configured rate is exceeded
    |   |-- RequestTimeoutError       408
    |   `-- UnavailableError          503
    |       |-- OutcomeUnknownError   the write may or may not have been applied; sending it again is safe
    |       `-- StoreUnavailableError the object store did not answer usefully
    `-- DataError                     somebody has to repair: 503, never a shorter answer
        |-- CorruptObjectError        bytes that fail their checksum or their structure
        |-- MissingObjectError        an object that must exist is gone
        `-- UnsupportedFormatError    written by a newer Quiver

`code` and `status` are those of the S3 Vectors model (botocore); codes are append-only.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple


class FieldError(NamedTuple):
    """One entry of a ValidationException's fieldList."""

    path: str
    message: str


class QuiverError(Exception):
    """The base of every error Quiver raises on purpose."""

    code: ClassVar[str] = "InternalServerException"
    status: ClassVar[int] = 500

    @property
    def message(self) -> str:
        """The text for the person who sent the request."""
        return str(self.args[0]) if self.args else self.code


class RequestError(QuiverError):
    """The request has to be changed."""


class ValidationError(RequestError):
    """Input outside the contract.

    Args:
        message: the text AWS uses where it is known.
        *fields: path and message of each field at fault.
    """

    code = "ValidationException"
    status = 400

    def __init__(self, message: str, *fields: FieldError) -> None:
        super().__init__(message)
        self.fields = fields

    @classmethod
    def at(cls, path: str, message: str) -> ValidationError:
        """The common case: one field at fault, its text also the message."""
        return cls(message, FieldError(path, message))


class SerializationError(RequestError):
    """The body is not acceptable JSON."""

    code = "SerializationException"
    status = 400


class AccessDeniedError(RequestError):
    """The principal may not do this."""

    code = "AccessDeniedException"
    status = 403


class NotFoundError(RequestError):
    """The named resource does not exist."""

    code = "NotFoundException"
    status = 404


class ConflictError(RequestError):
    """The resource exists already, or is in use."""

    code = "ConflictException"
    status = 409


class QuotaExceededError(RequestError):
    """A limit of the contract is reached."""

    code = "ServiceQuotaExceededException"
    status = 402


class RetryError(QuiverError):
    """The same request may succeed later."""

    code = "ServiceUnavailableException"
    status = 503


class BusyError(RetryError):
    """Too many writes for the moment."""

    code = "TooManyRequestsException"
    status = 429


class ThrottledError(BusyError):
    """A configured rate is exceeded.

    Args:
        message: what there was too much of.
        limit: the name of the rate.
        seconds: after so long the request can be let in, if nothing else comes before.
    """

    def __init__(self, message: str, limit: str = "", seconds: float = 1.0) -> None:
        super().__init__(message)
        self.limit = limit
        self.seconds = seconds


class RequestTimeoutError(RetryError):
    """The client sent its request too slowly."""

    code = "RequestTimeoutException"
    status = 408


class UnavailableError(RetryError):
    """Something underneath does not answer."""


class OutcomeUnknownError(UnavailableError):
    """The write may or may not have been applied. Sending the same request again is safe."""


class StoreUnavailableError(UnavailableError):
    """The object store failed. After a put: the object may exist now, later, or never."""


class DataError(QuiverError):
    """Stored data is damaged or unreadable: an operator has to act."""

    code = "ServiceUnavailableException"
    status = 503


class CorruptObjectError(DataError):
    """An object's bytes fail their checksum or their structure."""


class MissingObjectError(DataError):
    """An object that must exist is gone."""


class UnsupportedFormatError(DataError):
    """The data was written by a newer Quiver."""
