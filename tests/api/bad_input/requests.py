"""Rows of the bad-input catalogue: one request each, how it is sent, and the answer it must get."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from api.raw import HOST, request_bytes

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping

    from api.raw import Answer, Raw


class Target(NamedTuple):
    """Where requests go: an index whose contents have to stay, and one that may be written to.

    `texts` is a third, with text fields `body` and `title`, whose contents have to stay.
    """

    index: dict[str, str]
    scratch: dict[str, str]
    texts: dict[str, str]

    @property
    def bucket(self) -> dict[str, str]:
        return {"vectorBucketName": self.index["vectorBucketName"]}


class Expected(NamedTuple):
    """The answer.

    Attributes:
        status, code: "OK" is the code of a success.
        message: the whole text; a pattern where it holds times; None without one.
        path: of the only or the first entry of fieldList, None without one.
        closed: whether the connection ends with the answer.
    """

    status: int
    code: str
    message: str | re.Pattern[str] | None = None
    path: str | None = None
    closed: bool = False


class Row(NamedTuple):
    """One row. `line` is the line of the catalogue it belongs to, `label` tells it from the others of the line."""

    line: str
    label: str
    send: Callable[[Raw, Target], Answer | None]
    expected: Expected


OK = Expected(200, "OK")


def cut_off(status: int) -> Expected:
    """What the HTTP parser below the server says of a request it cannot read: a status, and nothing else."""
    return Expected(status, "", closed=True)


def invalid(message: str, path: str | None = None) -> Expected:
    return Expected(400, "ValidationException", message, path)


def constraint(path: str, must: str, length: int | None = None) -> Expected:
    """One constraint of the model violated."""
    value = "Value" if length is None else f"Value with length {length}"
    text = f"{value} at '{path}' failed to satisfy constraint: Member must {must}"
    return invalid(f"1 validation error detected. {text}", path)


def bad_record(text: str, path: str = "vectors[0]", key: str = "a") -> Expected:
    return invalid(f"Invalid record for key '{key}': {text}", path)


def unreadable(message: str = "The request body is not valid JSON") -> Expected:
    return Expected(400, "SerializationException", message)


def mistyped(path: str, kind: str) -> Expected:
    return unreadable(f"Value at '{path}' must be {kind}")


def denied(code: str, message: str | re.Pattern[str]) -> Expected:
    return Expected(403, code, message)


def broken(message: str) -> Expected:
    return Expected(400, "BadRequestException", message, closed=True)


MIB = 2**20
LIST = "/ListVectorBuckets"
QUERY = {"topK": 1, "queryVector": {"float32": [1, 2]}}
NO_CREDENTIALS = denied("MissingAuthenticationTokenException", "Missing Authentication Token")


# ---------------------------------------------------------------- ways to send


def _short(value: Any) -> str:
    return ascii(value)[:48]


def call(
    line: str,
    operation: str,
    params: Mapping[str, Any],
    expected: Expected,
    label: str = "",
    on: str = "index",
    **signer: str,
) -> Row:
    """A signed request with these members, and those that name a bucket or index unless they are among them."""

    def send(raw: Raw, target: Target) -> Answer:
        names: Mapping[str, str] = getattr(target, on) if on else {}
        body = {name: value for name, value in {**names, **params}.items() if value is not ...}
        return raw.post(operation, body, **signer)

    return Row(line, label or f"{operation} {_short(dict(params))}", send, expected)


def body(line: str, operation: str, text: bytes, expected: Expected, label: str = "") -> Row:
    """A signed request with this body."""
    return Row(line, label or f"{operation} {_short(text)}", lambda raw, _: raw.post(operation, text), expected)


def put_text(vector: str = "[3,4]", metadata: str = "{}", key: str = '"a"') -> str:
    """The member `vectors` of PutVectors as text, to have spellings that no encoder writes."""
    return f'"vectors":[{{"key":{key},"data":{{"float32":{vector}}},"metadata":{metadata}}}]'


def members(line: str, operation: str, text: str, expected: Expected, on: str = "index", label: str = "") -> Row:
    """A signed request with these members as text, after those that name the index."""

    def send(raw: Raw, target: Target) -> Answer:
        names = json.dumps(getattr(target, on))[1:-1]
        return raw.post(operation, f"{{{names},{text}}}".encode("utf-8", "surrogatepass"))

    return Row(line, label or f"{operation} {_short(text)}", send, expected)


def put(line: str, expected: Expected, on: str = "index", label: str = "", **spelled: str) -> Row:
    """A PutVectors of one record, parts of it spelled as given."""
    shown = label or " ".join(_short(text) for text in spelled.values())
    return members(line, "PutVectors", put_text(**spelled), expected, on, f"PutVectors {shown}")


def wire(line: str, request: bytes, expected: Expected, label: str = "") -> Row:
    """These bytes, over a connection of their own."""
    return Row(line, label or _short(request), lambda raw, _: raw.bytes(request), expected)


def head(line: str, lines: str, expected: Expected) -> Row:
    """A QueryVectors with these header lines after a sound Host, and the end of a chunked body."""
    request = f"POST /QueryVectors HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n0\r\n\r\n".encode()
    return wire(line, request, expected, _short(lines))


def signed(
    line: str,
    target: str,
    expected: Expected,
    method: str = "POST",
    content: bytes = b"{}",
    headers: Mapping[str, str] | None = None,
    label: str = "",
    **signer: str,
) -> Row:
    """A signed request of any method, target, body and headers; `signer` changes key, secret, region, service."""

    def send(raw: Raw, _: Target) -> Answer:
        given = None if headers is None else dict(headers)
        return raw.send(method, target, content, raw.signed(method, target, content, given, **signer))

    shown = label or f"{method} {target[:40]} {_short(headers or {})} {_short(signer)}"
    return Row(line, shown, send, expected)


def unsigned(line: str, method: str, target: str, expected: Expected) -> Row:
    """A request without credentials."""
    lines = [("Host", HOST), ("Content-Length", "2")]
    return Row(
        line, f"{method} {target} unsigned", lambda raw, _: raw.send(method, target, b"{}", lines), expected
    )


def altered(line: str, change: Callable[[dict[str, str]], Any], expected: Expected, label: str) -> Row:
    """A ListVectorBuckets whose header lines are changed after it was signed."""

    def send(raw: Raw, _: Target) -> Answer:
        lines = dict(raw.signed("POST", "/ListVectorBuckets", b"{}"))
        change(lines)
        return raw.send("POST", "/ListVectorBuckets", b"{}", list(lines.items()))

    return Row(line, label, send, expected)


def declared(line: str, length: int, expected: Expected) -> Row:
    """A PutVectors that declares a body of this length, and sends none of it."""

    def send(raw: Raw, _: Target) -> Answer | None:
        lines = [*raw.signed("POST", "/PutVectors", b"")[:-1], ("Content-Length", str(length))]
        return raw.bytes(request_bytes("POST", "/PutVectors", lines))

    return Row(line, f"{length} bytes declared", send, expected)
