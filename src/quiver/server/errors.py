"""Errors as HTTP answers: status, `x-amzn-errortype` and a JSON body."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from quiver.model.errors import QuiverError, ThrottledError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Sequence

Header = tuple[bytes, bytes]

RETRY_STATUSES = frozenset({429, 503})


class Refusal(Exception):
    """A request refused by the HTTP face itself, before any operation sees it.

    Args:
        status: the HTTP status.
        code: the error type the client reads.
        message: the text for the person who sent the request.
        close: whether the connection ends with the answer, because its framing can no longer be trusted
            or the rest of the body is not going to be read.
        headers: further response headers.
    """

    def __init__(
        self, status: int, code: str, message: str, *, close: bool = False, headers: Sequence[Header] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.close = close
        self.headers = tuple(headers)


class Reply(NamedTuple):
    """One HTTP answer. `code` is the error type, "OK" for success."""

    status: int
    code: str
    headers: tuple[Header, ...]
    body: bytes
    close: bool = False


def malformed(message: str) -> Refusal:
    """A request whose framing is wrong: 400, and the connection ends."""
    return Refusal(400, "BadRequestException", message, close=True)


def error_reply(error: Exception) -> Reply:
    """The answer to an error. Anything that was not raised on purpose says nothing about itself."""
    if isinstance(error, Refusal):
        return _reply(error.status, error.code, {"message": error.message}, error.headers, close=error.close)
    if isinstance(error, QuiverError):
        return _reply(error.status, error.code, _body(error), _retry(error))
    return _reply(500, "InternalServerException", {"message": "Internal server error"}, ())


def _retry(error: QuiverError) -> tuple[Header, ...]:
    """When to come back: in whole seconds, and in milliseconds in the header that the AWS SDKs heed."""
    if isinstance(error, ThrottledError):
        return (
            (b"retry-after", b"%d" % max(1, math.ceil(error.seconds))),
            (b"x-amz-retry-after", b"%d" % math.ceil(error.seconds * 1000)),
        )
    return ((b"retry-after", b"1"),) if error.status in RETRY_STATUSES else ()


def is_foreseen(error: Exception) -> bool:
    """Whether the error was raised on purpose and carries its own status below 500 or a modelled one."""
    return isinstance(error, Refusal) or (isinstance(error, QuiverError) and error.status != 500)


def _body(error: QuiverError) -> dict[str, Any]:
    if error.status == 500:
        return {"message": "Internal server error"}
    body: dict[str, Any] = {"message": error.message}
    if isinstance(error, ValidationError) and error.fields:
        body["fieldList"] = [{"path": path, "message": message} for path, message in error.fields]
    return body


def _reply(
    status: int, code: str, body: dict[str, Any], headers: tuple[Header, ...], *, close: bool = False
) -> Reply:
    errortype = (b"x-amzn-errortype", code.encode())
    return Reply(status, code, (errortype, *headers), dump_json(body), close)


def dump_json(value: Any) -> bytes:
    """Compact JSON; NumPy scalars and arrays and `orjson.Fragment` included.

    A message may quote text of the request that UTF-8 cannot carry; such characters are replaced.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:
        if not isinstance(value, dict) or not isinstance(value.get("message"), str):
            raise
        return orjson.dumps({"message": value["message"].encode("utf-8", "replace").decode()})
