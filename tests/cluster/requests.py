"""Signed S3 Vectors requests over plain HTTP connections: quick, never repeated, and honest about outcomes."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import random
from contextlib import suppress
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cli.running import KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SIGNER = SigV4Auth(
    Credentials(KEYS["QUIVER_ACCESS_KEY_ID"], KEYS["QUIVER_SECRET_ACCESS_KEY"]), "s3vectors", "us-east-1"
)
JSON, ARROW = "application/json", "application/vnd.apache.arrow.stream"
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
CALLS_PER_CONNECTION = 8
"""Workers share a port by connection, so a client that means to meet all of them changes connections."""


class Outcome(Enum):
    """What a client knows after a request."""

    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    NOT_SENT = "not sent"


class Answer(NamedTuple):
    """`status` is 0 when there was no whole answer; `commit` that of the header x-quiver-commit."""

    outcome: Outcome
    status: int = 0
    body: dict[str, Any] = {}  # noqa: RUF012 - never changed
    commit: int | None = None
    code: str = ""


class Client:
    """One client of one or more servers; each new connection goes to any of them. Not for several threads."""

    def __init__(self, ports: Sequence[int], seed: int = 0, timeout: float = 60) -> None:
        self._ports = ports
        self._random = random.Random(seed)
        self._timeout = timeout
        self._connection: http.client.HTTPConnection | None = None
        self._calls = itertools.count(1)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def call(self, operation: str, **parameters: object) -> Answer:
        """Do one operation. 4xx is a refusal; 5xx and everything but a whole answer leave the outcome unknown."""
        return self._send(operation, json.dumps(parameters).encode(), JSON)

    def read(self, operation: str, headers: Mapping[str, str], **parameters: object) -> Answer:
        """The same with further headers, which are signed too."""
        return self._send(operation, json.dumps(parameters).encode(), JSON, headers)

    def load(self, names: Mapping[str, str], stream: bytes) -> Answer:
        """LoadVectors with an Arrow stream; the answer means what it means after `call`."""
        return self._send(f"quiver/LoadVectors?{urlencode(names)}", stream, ARROW)

    def _send(self, target: str, body: bytes, content: str, more: Mapping[str, str] = NO_HEADERS) -> Answer:
        if next(self._calls) % CALLS_PER_CONNECTION == 0:
            self.close()
        try:
            connection = self._connected()
        except OSError:
            return Answer(Outcome.NOT_SENT)
        try:
            return self._exchange(connection, target, body, {"Content-Type": content, **more})
        except (OSError, http.client.HTTPException):
            self.close()
            return Answer(Outcome.UNKNOWN)

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            port = self._random.choice(self._ports)
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=self._timeout)
            connection.connect()
            self._connection = connection
        return self._connection

    def _exchange(
        self, connection: http.client.HTTPConnection, target: str, body: bytes, given: Mapping[str, str]
    ) -> Answer:
        url = f"http://{connection.host}:{connection.port}/{target}"
        headers = {**given, "X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest()}
        request = AWSRequest("POST", url, headers, body)
        SIGNER.add_auth(request)
        connection.request("POST", f"/{target}", body, dict(request.headers.items()))
        response = connection.getresponse()
        data = response.read()
        if response.will_close:
            self.close()
        return answer_of(response, data)


def answer_of(response: http.client.HTTPResponse, data: bytes) -> Answer:
    """What a whole answer tells."""
    status = response.status
    refused = Outcome.REFUSED if status < 500 else Outcome.UNKNOWN
    commit = response.headers.get("x-quiver-commit")
    answer = {}
    with suppress(ValueError):
        answer = json.loads(data or b"{}")
    return Answer(
        Outcome.OK if status == 200 else refused,
        status,
        answer,
        None if commit is None else int(commit),
        response.headers.get("x-amzn-errortype", ""),
    )
