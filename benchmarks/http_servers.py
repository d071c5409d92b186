"""Benchmark of HTTP servers under a minimal ASGI application: small JSON, large bodies, large bodies at once.

Run: python benchmarks/http_servers.py [seconds]. Each server runs as one worker process on loopback and is
driven by raw keep-alive connections. Figures per server: requests per second and p50/p99 for 6 KB JSON bodies
on one connection and on eight, and the time of one 20 MiB body alone and of eight sent at once, with the
worker's peak resident memory. The application reads the body and keeps it, as a request handler must.
"""

from __future__ import annotations

import importlib.util
import socket
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

SMALL = 6 * 1024
LARGE = 20 * 1024 * 1024
ANSWER = b'{"vectors":[]}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]

UVICORN = (
    "import uvicorn; uvicorn.run('http_servers:app', host='127.0.0.1', port={port}, http='{http}', loop='{loop}',"
    " log_level='error', access_log=False)"
)
GRANIAN = (
    "from granian import Granian; Granian('http_servers:app', address='127.0.0.1', port={port}, interface='asgi',"
    " loop='{loop}', websockets=False, http='1', log_enabled=False).serve()"
)
SERVERS = {
    "granian, asyncio": GRANIAN.replace("{loop}", "asyncio"),
    "granian, uvloop": GRANIAN.replace("{loop}", "uvloop"),
    "uvicorn, h11, asyncio": UVICORN.replace("{http}", "h11").replace("{loop}", "asyncio"),
    "uvicorn, httptools, uvloop": UVICORN.replace("{http}", "httptools").replace("{loop}", "uvloop"),
}


async def app(scope, receive, send) -> None:
    """Read the whole body, join it, answer with a few bytes of JSON."""
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    parts, more = [], True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message["body"])
        more = message.get("more_body", False)
    body = b"".join(parts)
    assert len(body) in (SMALL, LARGE)
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    return await send({"type": "http.response.body", "body": ANSWER})


async def lifespan(receive, send) -> None:
    """Agree to start and to stop."""
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


class Connection:
    """One keep-alive connection that posts bodies and waits for each answer."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, body: bytes) -> float:
        """Seconds from the first byte sent to the last byte of the answer."""
        head = b"POST /QueryVectors HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body)
        start = time.perf_counter()
        self._socket.sendall(head + body if len(body) == SMALL else head)
        if len(body) != SMALL:
            self._socket.sendall(body)
        answer = b""
        while not answer.endswith(ANSWER):
            received = self._socket.recv(65536)
            assert received, "the server closed the connection"
            answer += received
        return time.perf_counter() - start

    def close(self) -> None:
        self._socket.close()


def small_bodies(port: int, seconds: float) -> list[float]:
    """Latencies of as many small posts as fit into `seconds` on one connection."""
    connection, body, end = Connection(port), b"x" * SMALL, time.perf_counter() + seconds
    times = []
    while time.perf_counter() < end:
        times.append(connection.post(body))
    connection.close()
    return times


def large_bodies(port: int, connections: int, rounds: int) -> list[float]:
    """Latencies of 20 MiB posts sent on `connections` connections at once."""
    body = bytes(LARGE)
    opened = [Connection(port) for _ in range(connections)]
    with ThreadPoolExecutor(connections) as pool:
        times = [t for _ in range(rounds) for t in pool.map(lambda c: c.post(body), opened)]
    for connection in opened:
        connection.close()
    return times


def peak_memory(pid: int) -> float:
    """Highest peak resident memory among a process and its children, MiB."""
    family = [pid, *(int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    lines = [line for p in family for line in Path(f"/proc/{p}/status").read_text().splitlines()]
    return max(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def measure(name: str, program: str, seconds: float) -> None:
    """Start one server, print its line, stop it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = str(Path(__file__).parent)
    source = f"import sys; sys.path.insert(0, {folder!r}); {program.format(port=port)}"
    server = subprocess.Popen([sys.executable, "-c", source])
    try:
        wait_for(port)
        small_bodies(port, 0.5)
        one = small_bodies(port, seconds)
        with ThreadPoolExecutor(8) as pool:
            eight = [t for times in pool.map(lambda _: small_bodies(port, seconds), range(8)) for t in times]
        alone, together = large_bodies(port, 1, 10), large_bodies(port, 8, 3)
        print(
            f"| {name} | {len(one) / seconds:,.0f} | {percentiles(one)} | {len(eight) / seconds:,.0f} | "
            f"{percentiles(eight)} | {percentiles(alone)} | {percentiles(together)} | "
            f"{peak_memory(server.pid):.0f} MiB |",
            flush=True,
        )
    finally:
        server.terminate()
        server.wait(10)


def percentiles(times: list[float]) -> str:
    """Median and 99th percentile in milliseconds."""
    worst = sorted(times)[min(len(times) - 1, int(len(times) * 0.99))]
    return f"{statistics.median(times) * 1e3:.2f} / {worst * 1e3:.2f}"


def wait_for(port: int) -> None:
    """Return when something listens on the port."""
    for _ in range(200):
        try:
            Connection(port).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("the server did not start")


def main() -> None:
    """Print the versions and one line per server that is installed."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 4.0
    packages = [p for p in ("granian", "uvicorn", "h11", "httptools", "uvloop") if importlib.util.find_spec(p)]
    print(f"Python {sys.version.split()[0]}, " + ", ".join(f"{p} {version(p)}" for p in packages))
    print("| server | 1 conn: req/s | p50/p99 ms | 8 conn: req/s | p50/p99 ms | 20 MiB alone | 8 at once | peak |")
    for name, program in SERVERS.items():
        if all(importlib.util.find_spec(p) for p in ("uvloop", "httptools") if p in name):
            measure(name, program, seconds)


if __name__ == "__main__":
    main()
