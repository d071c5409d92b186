"""Heads of requests and their signatures: no head is accepted but those that were signed."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from fuzz.mutations import LONGEST
from quiver.model.errors import SerializationError, ValidationError
from quiver.server.credentials import Credentials
from quiver.server.errors import Refusal
from quiver.server.framing import check_content, read_head
from quiver.server.limits import ServerLimits
from quiver.server.reading import read_reading
from quiver.server.routes import Routes, query_values
from quiver.server.sigv4 import Authenticator, RequestParts, canonical_request
from quiver.service.operations import OPERATIONS
from server.fakes import KEY, REGION, SECRET, signed_headers

NOW = 1_790_000_000.0
BODY = b'{"prefix":"a"}'
BODY_HASH = hashlib.sha256(BODY).hexdigest()
ARN = "arn%3Aaws%3As3vectors%3Aus-east-1%3A000000000000%3Abucket%2Fb-1"
LIMITS = ServerLimits()
ROUTES = Routes(OPERATIONS)


def _seeds() -> list[bytes]:
    """Signed now as botocore signs; the clock of the authenticator is set to that time."""
    made = []
    for method, target, extra in (
        ("POST", "/ListVectorBuckets", {"Content-Type": "application/json"}),
        ("DELETE", f"/tags/{ARN}?tagKeys=a%20b&tagKeys=c", {"X-Amz-Content-SHA256": BODY_HASH}),
        ("GET", f"/s3-vectors/tags/{ARN}", {"X-Quiver-Consistency": "eventual", "X-Quiver-At-Least": "7"}),
    ):
        headers = signed_headers(method, target, BODY, extra)
        lines = [f"{method} {target}", *(f"{name}: {value}" for name, value in headers.items())]
        made.append("\n".join(lines).encode())
    return made


def _scope(data: bytes) -> dict[str, Any]:
    first, *lines = data[:LONGEST].split(b"\n")
    method, _, target = first.partition(b" ")
    path, _, query = target.partition(b"?")
    headers = [
        (name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)
    ]
    return {"method": method.decode("latin-1"), "raw_path": path, "query_string": query, "headers": headers}


SEEDS = _seeds()


def _signed_at(data: bytes) -> float:
    (stamp,) = [value for name, value in _scope(data)["headers"] if name == b"x-amz-date"]
    return datetime.strptime(stamp.decode(), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()


CLOCK = _signed_at(SEEDS[0])
AUTHENTICATOR = Authenticator(Credentials({KEY: SECRET}), REGION, lambda: CLOCK)


def _canonical(parts: RequestParts) -> bytes:
    (authorization,) = parts.values(b"authorization")
    names = authorization.split(b"SignedHeaders=")[1].split(b",")[0].decode("latin-1").split(";")
    return canonical_request(parts, names, BODY_HASH)


SIGNED = {_canonical(read_head(_scope(seed), LIMITS).parts) for seed in SEEDS}


def run(data: bytes) -> None:
    """Any head."""
    scope = _scope(data)
    try:
        head = read_head(scope, LIMITS)
        check_content(head.parts)
    except Refusal:
        return
    _look_around(head.parts)
    try:
        AUTHENTICATOR.open(head.parts).verify(BODY_HASH)
    except Refusal as refusal:
        if refusal.status != 403:
            raise
        return
    assert _canonical(head.parts) in SIGNED, "a signature that nobody made"


def _look_around(parts: RequestParts) -> None:
    """What else is read of a head."""
    with suppress(Refusal, SerializationError):
        route = ROUTES.find(parts.method, parts.raw_path)
        for name in route.query:
            query_values(parts.raw_query, name)
    with suppress(ValidationError):
        read_reading(parts)
