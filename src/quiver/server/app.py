"""The ASGI application: framing, host, size, route, authentication, decoding, service, encoding, in this order."""

from __future__ import annotations

import hashlib
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from quiver.model.errors import DataError, StoreUnavailableError, ThrottledError, UnavailableError
from quiver.objectstore.metered_store import metered
from quiver.objectstore.store import StoreRefusedError
from quiver.server import loading
from quiver.server.admission import ByteBudget
from quiver.server.audit import EVENT, describe_change
from quiver.server.body import discard_body, read_body
from quiver.server.errors import Reply, dump_json, error_reply, is_foreseen
from quiver.server.framing import check_content, read_head
from quiver.server.limits import ServerLimits
from quiver.server.loading import Loading
from quiver.server.logs import describe
from quiver.server.metrics import Metrics
from quiver.server.problems import Problems, message_of
from quiver.server.reading import read_reading
from quiver.server.routes import HEALTH, Routes, query_values, unprefixed
from quiver.server.throttle import Throttle
from quiver.server.wire import read_fast, read_params
from quiver.server.work_header import WORK, describe_cost, describe_work
from quiver.service.caller import Caller
from quiver.service.rates import Rates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from structlog.typing import FilteringBoundLogger

    from quiver.engine.engine import SourceWork
    from quiver.model.runtime import Runtime
    from quiver.objectstore.metered_store import StoreCounts
    from quiver.prices import StorePrices
    from quiver.server.framing import Head
    from quiver.server.loading import Loader
    from quiver.server.routes import Route, RoutedOperation
    from quiver.server.sigv4 import Authenticator, Principal
    from quiver.service.reading import Reading
    from quiver.storage.cache.counts import CacheCounts

    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

BODY_WEIGHT = 2
"""Memory set aside for a body, as a multiple of its length: the bytes and what is decoded from them."""


class Answer(Protocol):
    """What an operation returns: a body for orjson, the commit number it was computed at, and what a query did."""

    @property
    def body(self) -> dict[str, Any]: ...
    @property
    def commit(self) -> int | None: ...
    @property
    def work(self) -> Sequence[SourceWork]: ...


class OpenService(Protocol):
    """The service as the HTTP face uses it."""

    async def call(self, operation: str, params: dict[str, Any], reading: Reading, caller: Caller, /) -> Answer:
        """Validate, authorize, do. Raises the errors of `quiver.model.errors`."""
        ...

    @property
    def bulk(self) -> Loader:
        """Loads rows in bulk."""
        ...

    def store_counts(self) -> StoreCounts:
        """What was asked of the object store so far."""
        ...

    def cache_counts(self) -> CacheCounts | None:
        """What the caches did so far; None without caches."""
        ...

    async def close(self) -> None:
        """Release everything; called once, after the last answer."""
        ...


@dataclass(slots=True)
class Exchange:
    """What is known of one request, for its log line, its metrics and the header about its work."""

    request_id: str
    operation: str = "Unknown"
    key_id: str = ""
    received: int = 0
    work: Sequence[SourceWork] = ()
    caller: Caller | None = None
    audit: dict[str, Any] | None = None

    def identify(self, principal: Principal, scope: Mapping[str, Any]) -> Caller:
        """Note who sent the request, once that is proved."""
        client = scope.get("client")
        self.key_id = principal.key_id
        self.caller = Caller(
            principal.holder.principal, client[0] if client else None, scope.get("scheme") == "https"
        )
        return self.caller


class Application:
    """An ASGI application over one service.

    Args:
        open_service: opens the service when the server starts.
        operations: the operation table routes are built from.
        authenticator: who may call.
        runtime: time, ids and worker threads.
        log: where request lines go.
        limits: what a request may cost.
        metrics: where requests are counted.
        prices: of the object store; None when they are not known.
        rates: how much may be asked of this process per second; None for no limits.
        problems: where damage that requests meet is noted.
    """

    def __init__(
        self,
        open_service: Callable[[], Awaitable[OpenService]],
        operations: Mapping[str, RoutedOperation],
        authenticator: Authenticator,
        runtime: Runtime,
        log: FilteringBoundLogger,
        limits: ServerLimits | None = None,
        metrics: Metrics | None = None,
        prices: StorePrices | None = None,
        rates: Rates | None = None,
        problems: Problems | None = None,
    ) -> None:
        self.limits = limits or ServerLimits()
        self.metrics = metrics or Metrics()
        self._open_service = open_service
        self._routes = Routes(operations)
        self._authenticator = authenticator
        self._runtime = runtime
        self._log = log
        self._problems = problems or Problems(runtime.time)
        self._prices = prices
        self._service: OpenService | None = None
        rates = rates or Rates()
        of_one_key = int(rates.key_held_bytes) or None
        self._throttle = Throttle(rates, runtime)
        self._admission = ByteBudget(self.limits.admission_bytes, self.limits.admission_seconds, of_one_key)
        self._loading = Loading(authenticator, runtime, self.limits, self._throttle)
        self._strict_reading = ByteBudget(self.limits.max_body, self.limits.admission_seconds)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            with self.metrics.in_flight.track_inprogress():
                await self._exchange(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self._service = await self._open_service()
        except Exception as error:  # noqa: BLE001 - whatever it is, the server says so and does not start
            self._log.error("start failed", message=str(error), **describe(error))
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        service, self._service = self._service, None
        await service.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _exchange(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        started = self._runtime.monotonic()
        exchange = Exchange(_uuid(self._runtime.new_id()))
        with metered() as spent:
            try:
                reply = await self._answer(scope, receive, exchange)
            except Exception as error:  # noqa: BLE001 - the last line of defence: a 500 that says nothing
                reply = error_reply(error)
                if isinstance(error, ThrottledError):
                    self.metrics.throttled.labels(error.limit).inc()
                self._note(exchange, error)
        if exchange.key_id:  # who is not known learns nothing
            work = describe_work(exchange.work) + describe_cost(spent, self._prices)
            reply = reply._replace(headers=(*reply.headers, (WORK, work.encode())))
        await _send(send, reply, exchange.request_id)
        self._record(exchange, reply, self._runtime.monotonic() - started)

    def _note(self, exchange: Exchange, error: Exception) -> None:
        """What somebody has to look into: the line of the request says what came of it, not why."""
        told = {"request_id": exchange.request_id, "error": type(error).__name__, "message": message_of(error)}
        if isinstance(error, DataError | StoreRefusedError | StoreUnavailableError):
            self._problems.note(f"{exchange.operation} failed", "", error)
        if isinstance(error, DataError):
            self._log.error("damaged data", **told)
        elif isinstance(error, UnavailableError) and exchange.operation != HEALTH:
            self._log.warning("unavailable", **told)
        elif not is_foreseen(error):
            self._log.error("unforeseen error", request_id=exchange.request_id, **describe(error))

    async def _answer(self, scope: dict[str, Any], receive: Receive, exchange: Exchange) -> Reply:
        if unprefixed(scope["raw_path"]) == loading.PATH:
            return await self._loading.answer(scope, receive, exchange, lambda: self._ready().bulk)
        head = read_head(scope, self.limits)
        weight = (self.limits.max_body if head.length is None else head.length) * BODY_WEIGHT
        async with AsyncExitStack() as held:
            try:
                check_content(head.parts)
                route = self._routes.find(head.parts.method, head.parts.raw_path)
                exchange.operation = route.operation
                if route.operation == HEALTH:
                    self._ready()
                    await discard_body(receive, head.length, self.limits)
                    return Reply(200, "OK", (), b'{"status":"ok"}')
                claim = self._authenticator.open(head.parts)
                self._throttle.foresee(claim.key_id, head.length or 0)
                await held.enter_async_context(self._admitted(claim.key_id, weight))
            except Exception:
                await discard_body(receive, head.length, self.limits)
                raise
            body = await read_body(receive, head.length, self.limits)
            exchange.received = len(body)
            principal = claim.verify(await self._run(len(body), _sha256, body))
            caller = exchange.identify(principal, scope)
            self._throttle.admit(principal.key_id, len(body))
            return await self._perform(caller, route, head, body, exchange)

    @asynccontextmanager
    async def _admitted(self, key_id: str, weight: int) -> AsyncIterator[None]:
        async with self._admission.share(weight, key_id):
            self.metrics.admitted_bytes.inc(weight)
            try:
                yield
            finally:
                self.metrics.admitted_bytes.dec(weight)

    async def _perform(self, caller: Caller, route: Route, head: Head, body: bytes, exchange: Exchange) -> Reply:
        if not route.has_body:
            return await self._call(caller, route, head, {}, exchange)
        params = await self._run(len(body), read_fast, route.operation, body)
        if params is not None:
            return await self._call(caller, route, head, params, exchange)
        async with self._strict_reading.share(len(body), exchange.key_id):
            params = await self._run(len(body), read_params, route.operation, body, self.limits)
            return await self._call(caller, route, head, params, exchange)

    async def _call(
        self, caller: Caller, route: Route, head: Head, params: dict[str, Any], exchange: Exchange
    ) -> Reply:
        params.update(route.labels)
        for member in route.query:
            if values := query_values(head.parts.raw_query, member):
                params[member] = values
        exchange.audit = describe_change(route.operation, params)
        answer = await self._ready().call(route.operation, params, read_reading(head.parts), caller)
        commit = () if answer.commit is None else ((b"x-quiver-commit", b"%d" % answer.commit),)
        exchange.work = answer.work
        return Reply(200, "OK", commit, dump_json(answer.body))

    def _ready(self) -> OpenService:
        if self._service is None:
            raise UnavailableError("The server is starting or stopping")
        return self._service

    async def _run(self, size: int, function: Callable[..., Any], *args: Any) -> Any:
        """Run work on a body of `size` bytes: here when it is small, else in a worker thread."""
        if size <= self.limits.inline_bytes:
            return function(*args)
        return await self._runtime.offload(function, *args)

    def _record(self, exchange: Exchange, reply: Reply, seconds: float) -> None:
        self.metrics.observe(exchange.operation, reply.code, seconds, exchange.received, len(reply.body))
        if self._service is not None:
            self.metrics.observe_store(self._service.store_counts())
            self.metrics.observe_cache(self._service.cache_counts())
        if exchange.operation == HEALTH:
            return
        if exchange.audit is not None and exchange.caller is not None:
            self._log.warning(
                EVENT,
                request_id=exchange.request_id,
                operation=exchange.operation,
                key_id=exchange.key_id,
                principal=exchange.caller.principal.arn,
                source_ip=exchange.caller.source_ip,
                status=reply.status,
                code=reply.code,
                **exchange.audit,
            )
        self._log.info(
            "request",
            request_id=exchange.request_id,
            operation=exchange.operation,
            key_id=exchange.key_id,
            status=reply.status,
            code=reply.code,
            seconds=round(seconds, 6),
            received=exchange.received,
            sent=len(reply.body),
        )


async def _send(send: Send, reply: Reply, request_id: str) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(reply.body)),
        (b"x-amzn-requestid", request_id.encode()),
        *reply.headers,
    ]
    if reply.close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _uuid(digits: str) -> str:
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
