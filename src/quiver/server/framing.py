"""Framing: the checks on a request's head that come before everything else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from quiver.server.errors import Refusal, malformed
from quiver.server.sigv4 import RequestParts

if TYPE_CHECKING:
    from quiver.server.limits import ServerLimits

HOST = re.compile(rb"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
LENGTH = re.compile(rb"[0-9]{1,18}")
JSON_TYPE = re.compile(rb"application/(?:json|x-amz-json-1\.[0-9])[ \t]*(?:;.*)?", re.IGNORECASE)


class MediaType(NamedTuple):
    """A kind of body."""

    name: str
    pattern: re.Pattern[bytes]


JSON = MediaType("application/json", JSON_TYPE)


@dataclass(frozen=True, slots=True)
class Head:
    """A request whose head is sound.

    Attributes:
        parts: method, raw path, raw query and headers.
        length: bytes of the body by Content-Length, 0 when there is none, None when it comes in chunks.
    """

    parts: RequestParts
    length: int | None


def read_head(scope: dict[str, Any], limits: ServerLimits) -> Head:
    """The head of an ASGI HTTP scope.

    Raises:
        Refusal: 400, 414 or 431; the connection ends with each.
    """
    raw_path, raw_query = scope["raw_path"], scope["query_string"]
    headers = [(name.lower(), value) for name, value in scope["headers"]]
    _check_sizes(len(raw_path) + len(raw_query), headers, limits)
    parts = RequestParts(scope["method"], raw_path, raw_query, headers)
    hosts = parts.values(b"host")
    if len(hosts) != 1 or not HOST.fullmatch(hosts[0]):
        raise malformed("A request has exactly one valid Host header")
    length = _body_length(parts)
    if length is not None and length > limits.max_body:
        raise too_large()
    return Head(parts, length)


def check_content(parts: RequestParts, accepted: MediaType = JSON) -> None:
    """Judge what kind of body a sound head announces.

    Raises:
        Refusal: 415; the body has to be read all the same, or the connection cannot be used again.
    """
    for encoding in parts.values(b"content-encoding"):
        if encoding.strip().lower() not in (b"", b"identity"):
            raise _unsupported("Content-Encoding is not supported")
    for kind in parts.values(b"content-type"):
        if kind.strip() and not accepted.pattern.fullmatch(kind.strip()):
            raise _unsupported(f"Content-Type must be {accepted.name}")


def too_large() -> Refusal:
    """A body over the quota. The text and the 400 are what the live service answers."""
    return Refusal(400, "ValidationException", "Request body exceeds max allowed size", close=True)


def _check_sizes(uri: int, headers: list[tuple[bytes, bytes]], limits: ServerLimits) -> None:
    if uri > limits.max_uri:
        raise Refusal(414, "RequestUriTooLongException", "The request URI is too long", close=True)
    block = sum(len(name) + len(value) + 4 for name, value in headers)
    if len(headers) > limits.max_headers or block > limits.max_header_bytes:
        raise Refusal(431, "RequestHeaderFieldsTooLargeException", "The header block is too large", close=True)


def _body_length(parts: RequestParts) -> int | None:
    lengths, encodings = parts.values(b"content-length"), parts.values(b"transfer-encoding")
    if lengths and encodings:
        raise malformed("A request has Content-Length or Transfer-Encoding, not both")
    if encodings:
        if [encoding.strip().lower() for encoding in encodings] != [b"chunked"]:
            raise malformed("The only Transfer-Encoding is chunked")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or not LENGTH.fullmatch(lengths[0]):
        raise malformed("A request has at most one valid Content-Length")
    return int(lengths[0])


def _unsupported(message: str) -> Refusal:
    return Refusal(415, "UnsupportedMediaTypeException", message)
