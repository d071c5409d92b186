"""Requests as bytes: signed by botocore's signer, changed at will, sent over a plain socket."""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from cli.running import KEYS
from server.fakes import signed_headers
from server.processes import read_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY, SECRET = KEYS["QUIVER_ACCESS_KEY_ID"], KEYS["QUIVER_SECRET_ACCESS_KEY"]
HOST = "localhost"


class Answer(NamedTuple):
    """One HTTP answer; `closed` says whether the server ended the connection with it."""

    status: int
    headers: dict[str, str]
    body: bytes
    closed: bool = False

    @property
    def code(self) -> str:
        """The error type, OK for success."""
        return self.headers.get("x-amzn-errortype", "OK")

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Raw:
    """One kept connection to a server. A request on a connection that ended opens another.

    Attributes:
        port: of the server.
        connections: how many were opened for signed requests so far.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections = 0
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def signed(
        self, method: str, target: str, body: bytes, headers: dict[str, str] | None = None, **signer: str
    ) -> list[tuple[str, str]]:
        """The header lines of a request that botocore signs, Content-Length included."""
        given = {"Content-Type": "application/json"} if headers is None else headers
        options = {"key": KEY, "secret": SECRET, "host": HOST} | signer
        return [
            *signed_headers(method, target, body, given, **options).items(),
            ("Content-Length", str(len(body))),
        ]

    def send(self, method: str, target: str, body: bytes, headers: Sequence[tuple[str, str]]) -> Answer:
        """Send exactly these header lines and this body."""
        connection = self._connection
        self.connections += connection.sock is None
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value.encode("latin-1"))
            connection.endheaders(body)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read(), closed=answer.will_close)
        except (OSError, http.client.HTTPException):
            connection.close()
            raise

    def post(self, operation: str, body: Any, headers: dict[str, str] | None = None, **signer: str) -> Answer:
        """A signed request of an operation; a body that is not bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        target = f"/{operation}"
        return self.send("POST", target, data, self.signed("POST", target, data, headers, **signer))

    def bytes(self, request: bytes, *, finish: bool = False) -> Answer | None:
        """Send bytes over a connection of their own; None when the server ends it without an answer."""
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.settimeout(10)
            try:
                connection.sendall(request)
                if finish:
                    connection.shutdown(socket.SHUT_WR)
                data, closed = read_answer(connection)
            except ConnectionResetError:
                return None
        if not data:
            return None
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        return Answer(int(lines[0].split(" ")[1]), headers, body, closed)


def request_bytes(method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes = b"") -> bytes:
    """A request as it goes over the wire."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body
