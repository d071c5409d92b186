"""A proxy for one HTTP server that loses, delays and refuses requests and answers, as told request by request.

Every request gets a connection of its own to the server, so that a whole answer is one that ended.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections import Counter
from contextlib import suppress
from enum import Enum
from socket import SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable

DELAY_SECONDS = 0.3
_HEAD_LIMIT = 1 << 16


class Fault(Enum):
    """What happens to one request."""

    NONE = "none"
    CUT_ANSWER = "the server answered, and the connection ends instead"
    CUT_WITHIN_ANSWER = "the connection ends in the middle of the answer's body"
    RESET_BEFORE = "the connection is reset, and the server never sees the request"
    RESET_AFTER = "the server answered, and the connection is reset instead"
    ERROR_BEFORE = "503, and the server never sees the request"
    ERROR_AFTER = "the server answered, and 500 is passed on instead"
    CONFLICT_BEFORE = "409, and the server never sees the request"
    DELAY = "the request arrives late"


BEFORE = {
    Fault.ERROR_BEFORE: b"503 Slow Down",
    Fault.CONFLICT_BEFORE: b"409 Conflict",
}
APPLIED_AND_LOST = {Fault.CUT_ANSWER, Fault.CUT_WITHIN_ANSWER, Fault.RESET_AFTER, Fault.ERROR_AFTER}


class Request(NamedTuple):
    """What a fault is chosen by."""

    method: str
    path: str


class FaultyProxy:
    """Listens on `port` while its context is open. `seen` counts (method, fault).

    Args:
        upstream: port of the server.
        choose: the fault of each request; called in the proxy's thread.
    """

    def __init__(self, upstream: int, choose: Callable[[Request], Fault]) -> None:
        self.seen: Counter[tuple[str, Fault]] = Counter()
        self.port = 0
        self._upstream = upstream
        self._choose = choose
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def total(self, *faults: Fault) -> int:
        """How many requests of any method met one of these."""
        return sum(count for (_, fault), count in self.seen.items() if fault in faults)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_HEAD_LIMIT), self._loop
        ).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._connections.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._handle(reader, writer)
            writer.close()
        finally:
            self._connections.discard(task)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request; the connection ends with its answer."""
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head[:-4].split(b"\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
        body = await reader.readexactly(int(headers.get(b"content-length", b"0")))
        method, path = lines[0].decode("latin-1").split(" ")[:2]
        fault = self._choose(Request(method, path))
        self.seen[method, fault] += 1
        if fault is Fault.RESET_BEFORE:
            return reset(writer)
        if fault in BEFORE:
            return await pass_on(writer, error(BEFORE[fault]))
        if fault is Fault.DELAY:
            await asyncio.sleep(DELAY_SECONDS)
        kept = [line for line in lines if not line.lower().startswith(b"connection:")]
        answer = await self._ask(b"\r\n".join([*kept, b"Connection: close", b"", body]))
        if fault is Fault.RESET_AFTER:
            return reset(writer)
        if fault is Fault.ERROR_AFTER:
            answer = error(b"500 Internal Server Error")
        elif fault is Fault.CUT_ANSWER:
            answer = b""
        elif fault is Fault.CUT_WITHIN_ANSWER:
            answer = without_end(answer)
        return await pass_on(writer, answer)

    async def _ask(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        try:
            writer.write(request)
            await writer.drain()
            return await reader.read(-1)
        finally:
            writer.close()


async def pass_on(writer: asyncio.StreamWriter, answer: bytes) -> None:
    writer.write(answer)
    await writer.drain()


def without_end(answer: bytes) -> bytes:
    """Half of the body. A cut within the head is no test: clients built on urllib3 take it for a whole answer."""
    head, end, body = answer.partition(b"\r\n\r\n")
    return head + end + body[: len(body) // 2]


def error(status: bytes) -> bytes:
    return b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with RST instead of FIN."""
    writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
