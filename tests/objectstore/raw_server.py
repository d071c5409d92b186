"""A server that gives the same raw answer to every request, and remembers what was asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from objectstore.contract import run

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def with_raw_server(
    answer: Answer, work: Callable[[str, list[str]], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> None:
    """Run `work(endpoint, requests)`; each request is its head, up to the empty line."""

    async def main() -> None:
        requests: list[str] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            requests.append(head.decode())
            await answer(writer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        try:
            await work(f"{'https' if tls else 'http'}://127.0.0.1:{port}", requests)
        finally:
            server.close()

    run(main())


def reply(line: str, body: str = "", headers: str = "") -> Any:
    async def write(writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {line}\r\nConnection: close\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        writer.write((head + body).encode())
        await writer.drain()

    return write
