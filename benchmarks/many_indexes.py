"""Benchmark of many small indexes on one node: 10,000 indexes of 100 vectors of 128 dimensions, through HTTP.

Run: python -m benchmarks.many_indexes [indexes]. They are created, filled, listed page by page and queried; then
the time of the first query of an index that the server has closed (evicted to keep the memory budget) or never
opened (after a restart), with its vectors in the log and, after `quiver compact`, in segments. Every answer is
checked. The operating system's page cache is warm.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.common import (
    BUCKET,
    REPOSITORY,
    Request,
    Server,
    describe_machine,
    memory,
    open_files,
    percentiles,
    put_body,
    scratch,
    send_all,
    show,
    unit_rows,
)

if TYPE_CHECKING:
    import numpy as np

ROWS, DIMENSION = 100, 128
CONNECTIONS = 4
SAMPLE = 500


def name(number: int) -> str:
    """The name of an index."""
    return f"index-{number:05d}"


def rows(number: int) -> np.ndarray:
    """The vectors of an index, float32 of shape (100, 128)."""
    return unit_rows(ROWS, DIMENSION, seed=number)


def create(server: Server, count: int) -> float:
    """Create the indexes; seconds."""
    server.call("CreateVectorBucket", {"vectorBucketName": BUCKET})
    shape = {"vectorBucketName": BUCKET, "dataType": "float32", "dimension": DIMENSION, "distanceMetric": "cosine"}
    requests = [server.request("CreateIndex", shape | {"indexName": name(number)}) for number in range(count)]
    return checked(send_all(server, requests, CONNECTIONS))


def fill(server: Server, count: int) -> float:
    """One PutVectors for each index; seconds."""
    keys, metadata = [f"key-{row}" for row in range(ROWS)], [{"row": row} for row in range(ROWS)]
    seconds = 0.0
    for start in range(0, count, SAMPLE):
        part = range(start, min(start + SAMPLE, count))
        bodies = (put_body(name(number), keys, rows(number), metadata) for number in part)
        requests = [server.request("PutVectors", body) for body in bodies]
        seconds += checked(send_all(server, requests, CONNECTIONS))
    return seconds


def list_all(server: Server) -> tuple[int, list[float]]:
    """List page by page: how many names, and the seconds of each page."""
    names, times, token = [], [], None
    with server.connect() as connection:
        while True:
            params = {"vectorBucketName": BUCKET} | ({"nextToken": token} if token else {})
            answer = connection.send(server.request("ListIndexes", params))
            page = answer.json()
            times.append(answer.seconds)
            names += [index["indexName"] for index in page["indexes"]]
            token = page.get("nextToken")
            if token is None:
                break
    if names != sorted(set(names)):
        raise RuntimeError("the listing has repetitions or is out of order")
    return len(names), times


def query(server: Server, numbers: list[int]) -> list[float]:
    """Query each index once with one of its own vectors, one after another; seconds of each."""
    wanted = [number % ROWS for number in numbers]
    requests = [query_request(server, number, row) for number, row in zip(numbers, wanted, strict=True)]
    times = []
    with server.connect() as connection:
        for request, row in zip(requests, wanted, strict=True):
            answer = connection.send(request)
            if answer.json()["vectors"][0]["key"] != f"key-{row}":
                raise RuntimeError("a wrong nearest neighbour")
            times.append(answer.seconds)
    return times


def query_request(server: Server, number: int, row: int) -> Request:
    """A query for the ten nearest to a row."""
    params = {"vectorBucketName": BUCKET, "indexName": name(number), "topK": 10, "returnDistance": True}
    return server.request("QueryVectors", params | {"queryVector": {"float32": rows(number)[row].astype(float)}})


def checked(result: tuple[float, list]) -> float:
    """The seconds, once every answer proved to be a success."""
    for answer in result[1]:
        answer.json()
    return result[0]


def show_queries(what: str, server: Server, times: list[float]) -> None:
    """One line: latency of queries, and what the server holds."""
    held = memory(server.pids())
    show(
        {
            "what": what,
            "queries": len(times),
            "p50 / p99 ms": percentiles(times),
            "max ms": round(max(times) * 1e3, 1),
            "over 50 ms": sum(one > 0.05 for one in times),
            "RSS MiB": round(held["rss"]),
            "PSS MiB": round(held["pss"]),
            "open files": open_files(server.pids()),
        }
    )


def compact(root: Path) -> float:
    """`quiver compact`; seconds."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "quiver.cli.main", "compact", str(root)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def after_restart(what: str, root: Path, count: int, chance: random.Random) -> None:
    """Queries of a server that has just started: each index for the first time, then any at random, then again."""
    started = time.perf_counter()
    with Server(root=root) as server:
        show({"what": "start", "seconds": round(time.perf_counter() - started, 2)})
        query(server, [0])
        chosen = chance.sample(range(1, count), min(SAMPLE, count - 1))
        show_queries(f"first query after a restart, {what}", server, query(server, chosen))
        show_queries(f"second query, {what}", server, query(server, chosen))
        every = list(range(count))
        chance.shuffle(every)
        show_queries(f"each index once, {what}", server, query(server, every))
        show_queries(f"first query after eviction, {what}", server, query(server, every[: min(SAMPLE, count)]))


def main() -> None:
    """Print a line per stage."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print(describe_machine())
    chance = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="quiver-bench-", dir=scratch()) as folder:
        root = Path(folder)
        with Server(root=root) as server:
            empty = memory(server.pids())
            show({"what": "empty", "RSS MiB": round(empty["rss"]), "PSS MiB": round(empty["pss"])})
            show({"what": "create", "indexes": count, "per second": round(count / create(server, count))})
            show({"what": "fill", "PutVectors per second": round(count / fill(server, count))})
            listed, pages = list_all(server)
            show({"what": "list", "indexes": listed, "pages": len(pages), "ms a page": percentiles(pages)})
            everywhere = [chance.randrange(count) for _ in range(2 * SAMPLE)]
            show_queries("random, after filling", server, query(server, everywhere))
        after_restart("in the log", root, count, chance)
        show({"what": "compact", "seconds": round(compact(root), 1)})
        after_restart("in segments", root, count, chance)


if __name__ == "__main__":
    main()
