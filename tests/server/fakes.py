"""A service that records what it is asked, an application over it, and clients that sign."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from quiver.model.errors import BusyError, CorruptObjectError, FieldError, NotFoundError, ValidationError
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.metered_store import StoreCounts
from quiver.server.app import Application
from quiver.server.credentials import Credentials
from quiver.server.lifeline import stop_with_parent
from quiver.server.limits import ServerLimits
from quiver.server.logs import make_logger
from quiver.server.sigv4 import Authenticator
from quiver.service.operations import OPERATIONS
from quiver.service.reading import AS_SET, Reading
from quiver.storage.cache.counts import CacheCounts, PaceFigures

if TYPE_CHECKING:
    from collections.abc import MutableSequence, Sequence

    from quiver.engine.engine import SourceWork
    from quiver.service.bulk_rows import Source
    from quiver.service.caller import Caller
    from quiver.service.rates import Rates

OTHER_KEY = "QKOTHERKEY"
KEY, SECRET, REGION = "QKTESTKEY", "a secret of decent length".replace(" ", "-"), "us-east-1"


@dataclass
class FakeAnswer:
    body: dict[str, Any]
    commit: int | None = None
    work: Sequence[SourceWork] = ()


@dataclass
class FakeLoader:
    """Keeps what is loaded: the parameters, the keys and the metadata. Fails by the bucket name asked for."""

    loads: list[tuple[dict[str, Any], list[Any], list[Any]]] = field(default_factory=list)

    async def check_loading(self, params: dict[str, Any], caller: Caller) -> None:
        """Everybody may load."""

    async def load(self, params: dict[str, Any], source: Source, progress: Any, caller: Caller) -> FakeAnswer:
        if params.get("vectorBucketName") == "missing":
            raise NotFoundError("The specified index could not be found")
        batches = list(source.batches(1000))
        keys = [key for batch in batches for key in batch.keys]
        self.loads.append((params, keys, [document for batch in batches for document in batch.metadata or ()]))
        return FakeAnswer({"rows": len(keys)}, 5)


@dataclass
class FakeService:
    """Answers by the bucket name asked for; everything else gets an empty answer."""

    calls: MutableSequence[tuple[str, dict[str, Any]]] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    callers: MutableSequence[Caller | None] = field(default_factory=lambda: deque(maxlen=16))
    closed: bool = False
    bulk: FakeLoader = field(default_factory=FakeLoader)

    async def call(
        self, operation: str, params: dict[str, Any], reading: Reading = AS_SET, caller: Caller | None = None
    ) -> FakeAnswer:
        self.callers.append(caller)
        self.calls.append((operation, params))
        self.readings.append(reading)
        name = params.get("vectorBucketName")
        match name if isinstance(name, str) else "":
            case "missing":
                raise NotFoundError("The specified vector bucket could not be found")
            case "invalid":
                raise ValidationError("two faults", FieldError("/a", "first"), FieldError("/b", "second"))
            case "busy":
                raise BusyError("slow down")
            case "corrupt":
                raise CorruptObjectError("segment 7 of /secret/path is damaged")
            case "boom":
                raise RuntimeError("the password is hunter2")
            case slow if slow.startswith("slow"):
                await asyncio.sleep(float(slow[4:]))
        if operation == "QueryVectors":
            hit = {"key": "a", "distance": np.float32(0.25), "metadata": orjson.Fragment(b'{"n":1}')}
            return FakeAnswer({"vectors": [hit], "distanceMetric": "cosine"}, 12)
        if operation == "GetVectors":
            row = {"key": "a", "data": {"float32": np.array([0.5, 1.5], np.float32)}}
            return FakeAnswer({"vectors": [row]}, 12)
        if operation == "ListTagsForResource":
            return FakeAnswer({"tags": {"arn": str(params["resourceArn"])}})
        return FakeAnswer({}, 7 if operation == "PutVectors" else None)

    def store_counts(self) -> StoreCounts:
        counts = StoreCounts()
        counts.get.requests = len(self.calls)
        return counts

    def cache_counts(self) -> CacheCounts:
        return CacheCounts(
            found_in_memory=3 * len(self.calls),
            missed=len(self.calls),
            nbytes=65536,
            budget=1 << 20,
            pace=PaceFigures(0.025, 4e7),
        )

    async def close(self) -> None:
        self.closed = True


def make_app(
    service: FakeService,
    limits: ServerLimits | None = None,
    log: Any = None,
    now: float | None = None,
    runtime: SystemRuntime | None = None,
    rates: Rates | None = None,
) -> Application:
    runtime = runtime or SystemRuntime(2)

    async def start() -> FakeService:
        stop_with_parent()
        return service

    clock = runtime.time if now is None else lambda: now
    authenticator = Authenticator(Credentials({KEY: SECRET, OTHER_KEY: SECRET}), REGION, clock)
    log = log or make_logger(stream=io.StringIO())
    return Application(start, OPERATIONS, authenticator, runtime, log, limits, rates=rates)


def create() -> Application:
    """The factory of worker processes under test; the environment makes their patience short."""
    patience = float(os.environ.get("FAKE_IDLE_SECONDS", "30"))
    sys.setswitchinterval(0.001)
    return make_app(
        FakeService(deque(maxlen=1)),
        ServerLimits(idle_seconds=patience, grace_seconds=2 * patience),
        make_logger(),
    )


def signed_headers(
    method: str,
    target: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    *,
    key: str = KEY,
    secret: str = SECRET,
    region: str = REGION,
    service: str = "s3vectors",
    host: str = "localhost",
) -> dict[str, str]:
    """The headers botocore would send with this request."""
    request = AWSRequest(method, f"http://{host}{target}", dict(headers or {}), body)
    SigV4Auth(BotoCredentials(key, secret), service, region).add_auth(request)
    return {"Host": host, **dict(request.headers.items())}


@dataclass
class Result:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        return self.status, self.headers["x-amzn-errortype"]


class Client:
    """Drives an application in process, as an ASGI server would."""

    def __init__(
        self,
        limits: ServerLimits | None = None,
        now: float | None = None,
        runtime: SystemRuntime | None = None,
        rates: Rates | None = None,
    ) -> None:
        self.service = FakeService()
        self.log = io.StringIO()
        self.app = make_app(self.service, limits, make_logger(stream=self.log), now, runtime, rates)
        self.app._service = self.service

    def post(self, operation: str, body: Any, headers: dict[str, str] | None = None) -> Result:
        """A signed POST; a body that is not bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        return self.signed("POST", f"/{operation}", data, headers)

    def signed(self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Result:
        given = {"Content-Type": "application/json"} | (headers or {})
        return self.send(method, target, body, list(signed_headers(method, target, body, given).items()))

    def send(
        self, method: str, target: str, body: bytes = b"", headers: list[tuple[str, str]] | None = None
    ) -> Result:
        return asyncio.run(self.exchange(method, target, [body], headers or [("Host", "localhost")]))

    async def exchange(
        self, method: str, target: str, chunks: list[bytes], headers: list[tuple[str, str]], *, end: bool = True
    ) -> Result:
        """One request. Its length is declared unless the headers say otherwise; without `end` it stops short."""
        names = {name.lower() for name, _ in headers}
        if not names & {"content-length", "transfer-encoding"}:
            headers = [*headers, ("Content-Length", str(sum(map(len, chunks))))]
        path, _, query = target.encode("latin-1").partition(b"?")
        scope = {
            "type": "http",
            "method": method,
            "raw_path": path,
            "query_string": query,
            "headers": [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in headers],
        }
        messages = [{"type": "http.request", "body": c, "more_body": True} for c in chunks]
        if end:
            messages[-1]["more_body"] = False
        messages.append({"type": "http.disconnect"})
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return messages.pop(0)

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        start, rest = sent[0], sent[1:]
        names_values = {n.decode(): v.decode("latin-1") for n, v in start["headers"]}
        return Result(start["status"], names_values, b"".join(m["body"] for m in rest))
