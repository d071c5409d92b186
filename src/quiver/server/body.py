"""Bodies: read within size and time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from quiver.server.errors import Refusal, malformed
from quiver.server.framing import too_large

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from quiver.server.limits import ServerLimits

    Receive = Callable[[], Awaitable[dict[str, Any]]]


async def read_body(receive: Receive, length: int | None, limits: ServerLimits) -> bytes:
    """The whole body.

    Args:
        receive: the ASGI callable.
        length: the declared length; None for chunks, which are counted as they come.
        limits: size and pace.

    Raises:
        Refusal: 400 too large or cut short, 408 too slow; the connection ends with each.
    """
    parts = [part async for part in body_parts(receive, length, limits)]
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def discard_body(receive: Receive, length: int | None, limits: ServerLimits) -> None:
    """Read a body and keep nothing, so that the client hears the answer and can use the connection again.

    Raises:
        Refusal: as `read_body`.
    """
    async for _ in body_parts(receive, length, limits):
        pass


async def body_parts(receive: Receive, length: int | None, limits: ServerLimits) -> AsyncIterator[bytes]:
    """The body as it comes. Arguments and errors as for `read_body`."""
    loop = asyncio.get_running_loop()
    allowed = limits.grace_seconds + (length or 0) / limits.min_rate
    end, total, more = loop.time() + allowed, 0, length != 0
    while more:
        patience = min(limits.idle_seconds, end - loop.time())
        message = await _next(receive, patience)
        more = message.get("more_body", False)
        data = message.get("body", b"")
        total += len(data)
        if total > limits.max_body:
            raise too_large()
        if length is None:
            end += len(data) / limits.min_rate
        if data:
            yield data
    if length is not None and total != length:
        raise malformed("The body is not as long as its Content-Length")


async def _next(receive: Receive, patience: float) -> dict[str, Any]:
    try:
        async with asyncio.timeout(max(patience, 0)):
            message = await receive()
    except TimeoutError as error:
        raise Refusal(
            408, "RequestTimeoutException", "The request body took too long to arrive", close=True
        ) from error
    if message["type"] != "http.request":
        raise malformed("The body ended early or its framing is broken")
    return message
