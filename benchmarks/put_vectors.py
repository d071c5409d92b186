"""Benchmark of PutVectors through HTTP: vectors per second, durable, with the client's cost taken out.

Run: python -m benchmarks.put_vectors [batches] [rounds]. Batches of 500 vectors with a little metadata; bodies as
boto3 writes them and signatures are made beforehand and sent over kept connections. A vector counts when its
request was answered with 200, and that comes after its log entry was forced to disk. Each round fills a new index.
"""

from __future__ import annotations

import sys

from benchmarks.common import (
    Server,
    cpu_seconds,
    create_index,
    describe_machine,
    fsync_seconds,
    put_body,
    send_all,
    show,
    spread,
    unit_rows,
)

BATCH = 500
DIMENSIONS = (384, 1536)


def bodies(index: str, dimension: int, batches: int) -> list[bytes]:
    """PutVectors bodies with distinct keys."""
    made = []
    for number in range(batches):
        keys = [f"document-{number * BATCH + row}" for row in range(BATCH)]
        metadata = [{"section": f"s{row % 40}", "size": row, "note": "a short note"} for row in range(BATCH)]
        made.append(put_body(index, keys, unit_rows(BATCH, dimension, number), metadata))
    return made


def measure(server: Server, name: str, dimension: int, connections: int, batches: int) -> tuple[float, ...]:
    """One round: vectors per second, MB of bodies per second, server processor milliseconds per 1,000 vectors."""
    create_index(server, name, dimension)
    requests = [server.request("PutVectors", body) for body in bodies(name, dimension, batches)]
    before = cpu_seconds(server.pids())
    seconds, answers = send_all(server, requests, connections)
    work = cpu_seconds(server.pids()) - before
    for answer in answers:
        answer.json()
    megabytes = sum(len(request.body) for request in requests) / 1e6
    return batches * BATCH / seconds, megabytes / seconds, work / (batches * BATCH) * 1e6


def main() -> None:
    """Print a line per dimension, number of workers and number of connections."""
    batches = int(sys.argv[1]) if len(sys.argv) > 1 else 24
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    print(describe_machine())
    print(
        f"write and fsync: 4 KiB {fsync_seconds(4096) * 1e3:.2f} ms, 3 MiB {fsync_seconds(3 << 20) * 1e3:.2f} ms"
    )
    for workers in (1, 2):
        for dimension in DIMENSIONS:
            for connections in (1, 2, 4):
                count = batches if dimension < 1000 else batches // 2
                with Server(workers) as server:
                    measure(server, "warm-up", dimension, connections, 4)
                    runs = [measure(server, f"round-{n}", dimension, connections, count) for n in range(rounds)]
                speeds, rates, work = (list(column) for column in zip(*runs, strict=True))
                show(
                    {
                        "dimension": dimension,
                        "workers": workers,
                        "connections": connections,
                        "vectors/s": spread(speeds, digits=0),
                        "MB/s": spread(rates, digits=0),
                        "server CPU ms per 1,000": spread(work, digits=0),
                    }
                )


if __name__ == "__main__":
    main()
