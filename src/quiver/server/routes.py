"""Routes: raw path and method to an operation, built from the service's operation table.

Paths are matched as they were sent, before any decoding, because a resource ARN travels percent-encoded in one
segment. The prefix `/s3-vectors` is accepted as an alias.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import unquote_to_bytes

from quiver.model.errors import SerializationError
from quiver.server.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = b"/s3-vectors/"
HEALTH = "Health"
LABEL = re.compile(r"\{(\w+)\+?\}")
ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class RoutedOperation(Protocol):
    """What a route needs to know of an operation."""

    @property
    def name(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query(self) -> tuple[str, ...]: ...
    @property
    def has_body(self) -> bool: ...


class Route(NamedTuple):
    """Where a request goes.

    Attributes:
        operation: its name.
        labels: the decoded members that travelled in the path.
        query: the members that travel in the query string, as lists.
        has_body: whether members travel in a JSON body.
    """

    operation: str
    labels: dict[str, str]
    query: tuple[str, ...] = ()
    has_body: bool = False


class Routes:
    """The allow-list of everything this listener answers.

    Args:
        operations: the operations by name; paths may hold one `{label}` segment.
    """

    def __init__(self, operations: Mapping[str, RoutedOperation]) -> None:
        self._fixed: dict[bytes, dict[str, Route]] = {b"/health": {"GET": Route(HEALTH, {})}}
        self._labelled: dict[re.Pattern[bytes], dict[str, Route]] = {}
        for operation in operations.values():
            route = Route(operation.name, {}, operation.query, operation.has_body)
            if LABEL.search(operation.path):
                pattern = re.compile(LABEL.sub(r"(?P<\1>[^/]+)", operation.path).encode())
                self._labelled.setdefault(pattern, {})[operation.method] = route
            else:
                self._fixed.setdefault(operation.path.encode(), {})[operation.method] = route

    def find(self, method: str, raw_path: bytes) -> Route:
        """The route of a request.

        Raises:
            Refusal: 404 UnknownOperationException; 405 for a known path with another method.
            SerializationError: a label that is not percent-encoded UTF-8.
        """
        path = unprefixed(raw_path)
        methods, labels = self._fixed.get(path), {}
        for pattern, candidates in self._labelled.items() if methods is None else ():
            if match := pattern.fullmatch(path):
                methods, labels = candidates, match.groupdict()
        if methods is None:
            raise Refusal(404, "UnknownOperationException", "The requested operation does not exist")
        if method not in methods:
            allow = ", ".join(sorted(methods)).encode()
            message = "The specified method is not allowed against this resource"
            raise Refusal(405, "MethodNotAllowedException", message, headers=[(b"allow", allow)])
        return methods[method]._replace(labels={name: decode_component(raw) for name, raw in labels.items()})


def unprefixed(raw_path: bytes) -> bytes:
    """The path without the prefix that some clients put before it."""
    return raw_path[len(PREFIX) - 1 :] if raw_path.startswith(PREFIX) else raw_path


def query_values(raw_query: bytes, name: str) -> list[str]:
    """Every value of one query parameter, in order. `+` is a plus.

    Raises:
        SerializationError: a value that is not percent-encoded UTF-8.
    """
    pairs = (pair.partition(b"=") for pair in raw_query.split(b"&"))
    return [decode_component(value) for key, _, value in pairs if unquote_to_bytes(key) == name.encode()]


def query_names(raw_query: bytes) -> set[str]:
    """The names of all query parameters.

    Raises:
        SerializationError: a name that is not percent-encoded UTF-8.
    """
    return {decode_component(pair.partition(b"=")[0]) for pair in raw_query.split(b"&") if pair}


def decode_component(raw: bytes) -> str:
    """A percent-encoded path segment or query value.

    Raises:
        SerializationError: an incomplete escape, or bytes that are not UTF-8.
    """
    if ESCAPE.search(raw):
        raise SerializationError("The request URI is not validly percent-encoded")
    try:
        return unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError as error:
        raise SerializationError("The request URI is not UTF-8") from error
