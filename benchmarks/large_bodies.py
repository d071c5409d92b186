"""Benchmark of large bodies: 64 PutVectors of almost 20 MiB at once, and the server's peak memory.

Run: python -m benchmarks.large_bodies [requests]. Every answer has to be 200, or the documented back-pressure: 429
(too many writes not yet flushed) or 503 (no memory for another body within 30 seconds).
"""

from __future__ import annotations

import statistics
import sys
from collections import Counter

from benchmarks.common import (
    Server,
    create_index,
    describe_machine,
    memory,
    peak_memory,
    put_body,
    send_all,
    show,
    unit_rows,
)

DIMENSION, LIMIT = 4096, 20 << 20
BODIES = 4
DOCUMENTED = {200, 429, 503}


def large_body(number: int) -> bytes:
    """As many vectors as fit into a request."""
    one = len(put_body("large", ["key-0000"], unit_rows(1, DIMENSION)))
    rows = int(LIMIT / one * 0.99)
    body = put_body(
        "large", [f"key-{number}-{row:04d}" for row in range(rows)], unit_rows(rows, DIMENSION, number)
    )
    if not 0.95 * LIMIT < len(body) <= LIMIT:
        raise RuntimeError(f"a body of {len(body)} bytes")
    return body


def measure(workers: int, count: int) -> None:
    """All requests at once, each on its own connection."""
    with Server(workers) as server:
        create_index(server, "large", DIMENSION)
        bodies = [large_body(number) for number in range(BODIES)]
        before = memory(server.pids())
        requests = [server.request("PutVectors", bodies[number % BODIES]) for number in range(count)]
        seconds, answers = send_all(server, requests, count)
        statuses = Counter(answer.status for answer in answers)
        show(
            {
                "workers": workers,
                "requests at once": count,
                "MiB each": round(len(bodies[0]) / 2**20, 1),
                "answers": dict(statuses),
                "seconds in all": round(seconds, 1),
                "median seconds": round(statistics.median(answer.seconds for answer in answers), 1),
                "RSS before, MiB": round(before["rss"]),
                "peak RSS, MiB": round(peak_memory(server.pids())),
            }
        )
        if undocumented := statuses.keys() - DOCUMENTED:
            raise RuntimeError(f"answers with status {sorted(undocumented)}")
        server.call("QueryVectors", query("large"))


def query(index: str) -> dict:
    """The server has to go on answering."""
    vector = unit_rows(1, DIMENSION, BODIES)[0].astype(float)
    return {"vectorBucketName": "benchmark", "indexName": index, "topK": 3, "queryVector": {"float32": vector}}


def main() -> None:
    """Print a line for one worker and one for two."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    print(describe_machine())
    for workers in (1, 2):
        measure(workers, count)


if __name__ == "__main__":
    main()
