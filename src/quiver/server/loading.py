"""Bulk loads over HTTP: `POST /quiver/LoadVectors` with an Arrow IPC stream as its body.

The body may be large, so the order differs from that of the other operations: who sends it is proved by a
signature over the hash it declares; then it goes to a temporary file, and is not decoded before it has that hash.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from quiver.bulk.arrow_stream import open_arrow_stream
from quiver.bulk.columns import Columns
from quiver.model.errors import QuiverError, UnavailableError, ValidationError
from quiver.model.progress import no_progress
from quiver.server.admission import ByteBudget
from quiver.server.body import body_parts, discard_body
from quiver.server.errors import Refusal, Reply, dump_json, error_reply
from quiver.server.framing import MediaType, check_content, read_head
from quiver.server.routes import query_names, query_values
from quiver.server.sigv4 import OTHER_BODY, invalid_signature
from quiver.storage.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quiver.model.progress import Progress
    from quiver.model.runtime import Runtime
    from quiver.server.app import Answer, Exchange
    from quiver.server.framing import Head
    from quiver.server.limits import ServerLimits
    from quiver.server.sigv4 import Authenticator
    from quiver.server.throttle import Throttle
    from quiver.service.bulk_rows import Source
    from quiver.service.caller import Caller

    Receive = Callable[[], Awaitable[dict[str, Any]]]

PATH = b"/quiver/LoadVectors"
OPERATION = "LoadVectors"
ARROW = MediaType(
    "application/vnd.apache.arrow.stream",
    re.compile(rb"application/vnd\.apache\.arrow\.stream[ \t]*(?:;.*)?", re.IGNORECASE),
)
INDEX_NAMES = ("vectorBucketName", "indexName", "indexArn")
COLUMNS = ("key", "vector", "metadata")
FIELD = "field"
"""Query parameter that names a column which becomes a metadata field; repeatable."""
IN_MEMORY = 1 << 20
"""Bytes that are written to the temporary file at a time; a body up to this size needs none."""


class Loader(Protocol):
    """What loads rows; see `BulkOperations`."""

    def check_loading(self, params: dict[str, Any], caller: Caller, /) -> Awaitable[None]: ...
    def load(
        self, params: dict[str, Any], source: Source, progress: Progress, caller: Caller, /
    ) -> Awaitable[Answer]: ...


class Loading:
    """Answers loads.

    Args:
        authenticator: who may call.
        runtime: worker threads.
        limits: what a request may cost.
        throttle: how much may be sent per second.
    """

    def __init__(
        self, authenticator: Authenticator, runtime: Runtime, limits: ServerLimits, throttle: Throttle
    ) -> None:
        self._authenticator = authenticator
        self._runtime = runtime
        self._throttle = throttle
        self._limits = replace(limits, max_body=limits.max_load)
        self._drained = limits.max_body
        self._room = ByteBudget(limits.max_load, limits.admission_seconds)
        self._spool = Spool(memory_bytes=IN_MEMORY)

    async def answer(
        self, scope: dict[str, Any], receive: Receive, exchange: Exchange, loader: Callable[[], Loader]
    ) -> Reply:
        """Do one load. Raises: Refusal, and the errors of `quiver.model.errors`."""
        exchange.operation = OPERATION
        head = read_head(scope, self._limits)
        weight = self._limits.max_body if head.length is None else head.length
        async with AsyncExitStack() as held:
            try:
                params, columns, digest, caller = self._judge(head, scope, exchange)
                ready = loader()
                await ready.check_loading(params, caller)
                judge = self._throttle.foresee if head.length is None else self._throttle.admit
                judge(exchange.key_id, head.length or 0)
                await held.enter_async_context(self._room.share(weight, exchange.key_id))
            except (Refusal, QuiverError) as error:
                if weight > self._drained:
                    return error_reply(error)._replace(close=True)
                await discard_body(receive, head.length, self._limits)
                raise
            data = await self._receive(receive, head, weight, exchange, digest)
            if head.length is None:
                self._throttle.admit(exchange.key_id, exchange.received)
            source = await self._runtime.offload(open_arrow_stream, data, columns)
            answer = await ready.load(params, source, no_progress, caller)
        commit = () if answer.commit is None else ((b"x-quiver-commit", b"%d" % answer.commit),)
        return Reply(200, "OK", commit, dump_json({**answer.body, "commit": answer.commit}))

    def _judge(
        self, head: Head, scope: dict[str, Any], exchange: Exchange
    ) -> tuple[dict[str, str], Columns, str, Caller]:
        """All that can be judged before the body is there: the index, the columns, the body's hash, the caller."""
        if head.parts.method != "POST":
            message = "The specified method is not allowed against this resource"
            raise Refusal(405, "MethodNotAllowedException", message, headers=[(b"allow", b"POST")])
        check_content(head.parts, ARROW)
        principal, digest = self._authenticator.open(head.parts).verify_declared()
        caller = exchange.identify(principal, scope)
        params, columns = _read_query(head.parts.raw_query)
        return params, columns, digest, caller

    async def _receive(
        self, receive: Receive, head: Head, weight: int, exchange: Exchange, expected: str
    ) -> memoryview:
        """The body, all of it, once it has the hash that was signed. Raises: Refusal, UnavailableError."""
        digest = hashlib.sha256()
        try:
            file = self._spool.open(weight)

            def keep(data: bytes) -> None:
                digest.update(data)
                file.write(data)

            parts: list[bytes] = []
            size = 0
            async for part in body_parts(receive, head.length, self._limits):
                parts.append(part)
                size += len(part)
                exchange.received += len(part)
                if size >= IN_MEMORY:
                    await self._runtime.offload(keep, b"".join(parts))
                    parts, size = [], 0
            keep(b"".join(parts))
            data = file.view()
        except OSError as error:
            raise UnavailableError("There is no room for the request body at the moment") from error
        if digest.hexdigest() != expected:
            raise invalid_signature(OTHER_BODY)
        return data


def _read_query(raw_query: bytes) -> tuple[dict[str, str], Columns]:
    """Which index, and which columns hold what. Raises: ValidationError, SerializationError."""
    known = (*INDEX_NAMES, *COLUMNS, FIELD)
    if unknown := query_names(raw_query) - set(known):
        raise ValidationError(f"There is no parameter {min(unknown)!r}; there are {', '.join(known)}")
    given: dict[str, str] = {}
    for name in (*INDEX_NAMES, *COLUMNS):
        if values := query_values(raw_query, name):
            if len(values) > 1:
                raise ValidationError(f"The parameter {name!r} is given more than once")
            given[name] = values[0]
    fields = query_values(raw_query, FIELD)
    if fields and "metadata" in given:
        raise ValidationError("The parameters 'metadata' and 'field' exclude each other")
    columns = Columns(given.get("key"), given.get("vector"), fields or given.get("metadata"))
    return {name: given[name] for name in INDEX_NAMES if name in given}, columns
