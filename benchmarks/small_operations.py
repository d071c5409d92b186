"""Benchmark of small operations through HTTP: requests per second, and their latency.

Run: python -m benchmarks.small_operations [seconds] [rounds]. An index of 1,000 x 384 is read and written with
requests that were signed beforehand, on one kept connection and on eight at once.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import ExitStack

from benchmarks.common import (
    BUCKET,
    Connection,
    Request,
    Server,
    create_index,
    describe_machine,
    percentiles,
    put_body,
    show,
    spread,
    unit_rows,
)

ROWS, DIMENSION, INDEX = 1000, 384, "small"


def fill(server: Server) -> None:
    """The index that is read."""
    create_index(server, INDEX, DIMENSION)
    rows = unit_rows(ROWS, DIMENSION)
    with server.connect() as connection:
        for start in range(0, ROWS, 500):
            keys = [f"key-{row}" for row in range(start, start + 500)]
            metadata = [{"section": f"s{row % 40}"} for row in range(500)]
            body = put_body(INDEX, keys, rows[start : start + 500], metadata)
            connection.send(server.request("PutVectors", body)).json()


def operations(server: Server) -> dict[str, list[Request]]:
    """Requests of each kind, sent in turn."""
    on_index = {"vectorBucketName": BUCKET, "indexName": INDEX}
    queries = unit_rows(100, DIMENSION, seed=1)
    return {
        "GetIndex": [server.request("GetIndex", on_index)],
        "GetVectors, 1 key": [
            server.request("GetVectors", on_index | {"keys": [f"key-{row}"], "returnData": True})
            for row in range(100)
        ],
        "ListVectors, 100": [server.request("ListVectors", on_index | {"maxResults": 100})],
        "QueryVectors, top 10": [
            server.request("QueryVectors", on_index | {"topK": 10, "queryVector": {"float32": query}})
            for query in queries.astype(float)
        ],
        "PutVectors, 1 vector": [
            server.request("PutVectors", put_body(INDEX, [f"key-{row}"], queries[row : row + 1]))
            for row in range(100)
        ],
    }


def run(server: Server, requests: list[Request], connections: int, seconds: float) -> list[float]:
    """Seconds that each request took; as many as fit into `seconds`."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    def drive(connection: Connection, first: int) -> None:
        number = first
        while time.perf_counter() < end:
            answer = connection.send(requests[number % len(requests)])
            if answer.status != 200:
                raise RuntimeError(f"status {answer.status}: {answer.body!r}")
            times.append(answer.seconds)
            number += 1

    with ExitStack() as stack:
        opened = [stack.enter_context(server.connect()) for _ in range(connections)]
        threads = [threading.Thread(target=drive, args=(one, 13 * place)) for place, one in enumerate(opened)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return times


def main() -> None:
    """Print a line per number of workers, operation and number of connections."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    print(describe_machine())
    for workers in (1, 2):
        with Server(workers) as server:
            fill(server)
            for name, requests in operations(server).items():
                for connections in (1, 8):
                    run(server, requests, connections, 0.3)
                    runs = [run(server, requests, connections, seconds) for _ in range(rounds)]
                    show(
                        {
                            "operation": name,
                            "workers": workers,
                            "connections": connections,
                            "requests/s": spread([len(times) / seconds for times in runs], digits=0),
                            "p50 / p99 ms": percentiles([one for times in runs for one in times]),
                        }
                    )


if __name__ == "__main__":
    main()
