"""One client of a server, in a process of its own: adds its share of rows, or asks queries at a steady pace.

Started by `benchmarks.ingest`: python -m benchmarks.ingest_client with a task as JSON, its only argument. It says
"ready" on standard output, begins when it is given a line on standard input, and at the end writes its result as a
line of JSON; a reader ends when it is given another line. Times are by time.perf_counter, which processes share.
"""

from __future__ import annotations

import json
import os
import selectors
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from benchmarks import contenders
from benchmarks.contenders.contract import batches
from benchmarks.datasets import load

if TYPE_CHECKING:
    from benchmarks.contenders.contract import Client
    from benchmarks.datasets import Dataset

K = 10


def add(client: Client, task: dict[str, Any], told: TextIO) -> dict[str, Any]:
    """Every so-many-th batch of the rows; when it began and ended, and the seconds of each batch."""
    number, count = task["share"]
    first, last = task["rows"]
    parts = [range(first + part.start, first + part.stop) for part in batches(last - first, client.size)]
    made = [client.make(part) for part in parts[number::count]]
    client.query(_data(task).queries[0], K)
    _ready(told)
    seconds = []
    begun = time.perf_counter()
    for each in made:
        start = time.perf_counter()
        client.send(each)
        seconds.append(time.perf_counter() - start)
    return {"begun": begun, "ended": time.perf_counter(), "seconds": seconds}


def read(client: Client, task: dict[str, Any], told: TextIO) -> dict[str, Any]:
    """A query each `every` seconds until told to stop; when each was due, and how long after it was answered."""
    queries = _data(task).queries
    client.query(queries[0], K)
    _ready(told)
    asked: list[tuple[float, float]] = []
    due = time.perf_counter()
    with selectors.DefaultSelector() as waiting:
        waiting.register(sys.stdin, selectors.EVENT_READ)
        while not waiting.select(max(0.0, due - time.perf_counter())):
            client.query(queries[len(asked) % len(queries)], K)
            asked.append((due, time.perf_counter() - due))
            due += task["every"]
    return {"asked": asked}


def _data(task: dict[str, Any]) -> Dataset:
    return load(task["dataset"])


def _ready(told: TextIO) -> None:
    told.write("ready\n")
    if not sys.stdin.readline():
        raise EOFError("nobody waits for this client any more")


def main() -> None:
    """Do the task."""
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    task = json.loads(sys.argv[1])
    server = contenders.find(task["contender"])(_data(task), Path(task["folder"]))
    client = server.client(task["address"], bodies=task["bodies"])
    told.write(json.dumps({"add": add, "read": read}[task["do"]](client, task, told)) + "\n")
    told.flush()
    os._exit(0)  # some clients leave threads that never end


if __name__ == "__main__":
    main()
