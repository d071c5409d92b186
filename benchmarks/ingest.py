"""Comparison 3, through HTTP: durable ingest while indexing runs and a reader asks, beside Chroma's server.

Run: python -m benchmarks ingest [--small] [--data NAME ...] [--contenders NAME ...] [--rows N] [--before N]
[--clients N ...] [--requests client beforehand] [--every SECONDS] [--flush-rows N] [--repeats N]
The figures of the report: python -m benchmarks ingest --rows 120000 --repeats 3 (about 20 minutes a repeat on 2
cores, most of it Chroma's), and, without a reader, the same with --every 0.

A server with `--before` rows is asked a query every 50 ms by a reader in a process of its own. After `--quiet`
seconds clients, each a process of its own, add `--rows` more, as fast as they are confirmed; Quiver has forced a
row to disk then. `client`: each server's own client makes the requests (boto3 in batches of 500, chromadb's in
1,000, Arrow in 5,000); `beforehand`: they are made before, which leaves the server's work. What Quiver refuses
because its tail is full is sent again. A query's latency counts from when it was due, so that waiting counts;
`before` and `while` are the time without and with rows being added. Flushes and segments written are what Quiver's
server did while they were, by its metrics and its folder; a segment beyond the flushes is a merge's. `idle after`
is how long it went on indexing then.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import contenders, side_by_side
from benchmarks.common import REPOSITORY, scratch, spread
from benchmarks.contenders.contract import batches
from benchmarks.datasets import load
from benchmarks.figures import percentile
from benchmarks.side_by_side import ContenderError, say

if TYPE_CHECKING:
    import argparse

    from benchmarks.contenders.contract import Address, Contender

REQUESTS = {"client": "by its client", "beforehand": "made beforehand"}
IDLE_SECONDS, PAUSE_SECONDS = 600, 1.0


class Helper:
    """A client process. A context manager: leaving it ends the process."""

    def __init__(self, task: dict[str, Any]) -> None:
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY / "src")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.ingest_client", json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=REPOSITORY,
        )

    def __enter__(self) -> Helper:
        if self._process.stdout.readline() != "ready\n":
            raise ContenderError("a client did not start")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def tell(self) -> None:
        """Begin, or, for a reader that began, stop."""
        self._process.stdin.write("now\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """What it wrote at the end. Raises ContenderError."""
        line = self._process.stdout.readline()
        if not line:
            raise ContenderError(f"a client ended with {self._process.wait()}")
        return json.loads(line)


class Sampler:
    """Asks a server every half second what it has done in the background. A context manager."""

    def __init__(self, contender: Contender, address: Address) -> None:
        self.samples: list[tuple[float, dict[str, float]]] = []
        self._look = lambda: self.samples.append((time.perf_counter(), contender.progress(address)))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Sampler:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._look()

    def _run(self) -> None:
        while not self._stopped.wait(0.5):
            self._look()


def measure(name: str, dataset: str, clients: int, options: argparse.Namespace, *, bodies: bool) -> dict[str, Any]:
    """One server, new and empty, in one way. Raises ContenderError."""
    with tempfile.TemporaryDirectory(prefix="quiver-bench-", dir=scratch()) as folder, ExitStack() as stack:
        contender = contenders.find(name)(load(dataset), Path(folder))
        address = stack.enter_context(contender.serving())
        task = {"contender": name, "dataset": dataset, "folder": folder, "address": address, "bodies": bodies}
        fill(contender, address, options.before)
        settle(contender, address)
        rows = [options.before, options.before + options.rows]
        tasks = [{**task, "do": "add", "rows": rows, "share": [number, clients]} for number in range(clients)]
        adding = [stack.enter_context(Helper(each)) for each in tasks]
        reader = None
        if options.every:
            reader = stack.enter_context(Helper({**task, "do": "read", "bodies": False, "every": options.every}))
            reader.tell()
            time.sleep(options.quiet)
        with Sampler(contender, address) as sampler:
            for helper in adding:
                helper.tell()
            added = [helper.result() for helper in adding]
        idle = settle(contender, address)
        asked = []
        if reader is not None:
            reader.tell()
            asked = reader.result()["asked"]
    return figures(added, asked, sampler.samples, options.rows) | {"idle after s": idle}


def fill(contender: Contender, address: Address, count: int) -> None:
    """The rows that are there at first."""
    client = contender.client(address, bodies=True)
    for part in batches(count, client.size):
        client.send(client.make(part))


def settle(contender: Contender, address: Address) -> float:
    """Seconds until the server was done in the background, and stayed so for a while. Raises ContenderError."""
    start = idle_since = time.perf_counter()
    while "busy" in (done := contender.progress(address)):
        now = time.perf_counter()
        if done["busy"]:
            idle_since = now
        elif now > idle_since + PAUSE_SECONDS:  # one job may have ended and the next not yet begun
            break
        if now > start + IDLE_SECONDS:
            raise ContenderError("the server is never idle")
        time.sleep(0.1)
    return idle_since - start


def figures(
    added: list[dict[str, Any]],
    asked: list[tuple[float, float]],
    samples: list[tuple[float, dict[str, float]]],
    rows: int,
) -> dict[str, Any]:
    """What one run gave.

    Args:
        added: what the clients that added rows wrote.
        asked: when each query was due, and after how many seconds it was answered.
        samples: what the server had done in the background, from before the first row to after the last.
    """
    first, last = min(each["begun"] for each in added), max(each["ended"] for each in added)
    before = [seconds for due, seconds in asked if due < first]
    meanwhile = [seconds for due, seconds in asked if first <= due < last]
    start, end = samples[0][1], samples[-1][1]
    done = {name: end[name] - start[name] for name in end if name != "busy"}
    busy = [bool(counts["busy"]) for _, counts in samples[1:-1] if "busy" in counts]
    return {
        "rows/s": rows / (last - first),
        "seconds": last - first,
        "batch p99 ms": percentile([s for each in added for s in each["seconds"]], 0.99) * 1e3,
        **_latency("before", before),
        **_latency("while", meanwhile),
        "done": done,
        "busy": statistics.fmean(busy) if busy else None,
        "samples": [[at - first, counts] for at, counts in samples],
    }


def _latency(stage: str, seconds: list[float]) -> dict[str, Any]:
    parts = {"p50": 0.5, "p99": 0.99}
    return {
        f"{stage} {name}": percentile(seconds, part) * 1e3 if seconds else None for name, part in parts.items()
    }


def rows_of(runs: dict[tuple[str, str, int], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The table."""
    made = []
    for (requests, name, clients), same in runs.items():
        chroma = runs.get((requests, "chroma-server", clients), [])
        ratios = [ours["rows/s"] / theirs["rows/s"] for ours, theirs in zip(same, chroma, strict=False)]
        row = {"server": name, "requests": REQUESTS[requests], "clients": clients}
        row["rows/s"] = spread([run["rows/s"] for run in same], digits=0)
        row["times Chroma's"] = spread(ratios, digits=2) if ratios else ""
        for stage in ("before", "while"):
            known = [run for run in same if run[f"{stage} p50"] is not None]
            middle = [
                statistics.median(run[f"{stage} {part}"] for run in known) for part in ("p50", "p99") if known
            ]
            row[f"query {stage}, p50 / p99 ms"] = " / ".join(f"{value:.1f}" for value in middle)
        for what in same[0]["done"]:
            row[what] = spread([run["done"][what] for run in same], digits=0)
        if busy := [run["busy"] for run in same if run["busy"] is not None]:
            row["% of samples indexing"] = spread(busy, scale=100, digits=0)
            row["idle after s"] = spread([run["idle after s"] for run in same])
        made.append(row)
    return made


def compare(dataset: str, options: argparse.Namespace) -> None:
    """One data set: measure in turns, print, save."""
    print(f"\n### {dataset}", flush=True)
    if len(load(dataset).rows) < options.before + options.rows:
        sys.exit(f"{dataset} has fewer than {options.before + options.rows:,} rows: --rows, --before")
    names, left_out = side_by_side.available(options.contenders)
    runs: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    ways = list(itertools.product(options.requests, options.clients, names))
    for repeat in range(options.repeats):
        for requests, clients, name in ways:
            if name in left_out:
                continue
            try:
                run = measure(name, dataset, clients, options, bodies=requests == "beforehand")
            except ContenderError as error:
                left_out[name] = str(error)
                say(f"{name}: left out, {error}")
                continue
            runs.setdefault((requests, name, clients), []).append(run)
            about = f"{repeat + 1} of {options.repeats}, {name}, {clients} clients, {REQUESTS[requests]}"
            say(f"{about}: {run['rows/s']:,.0f} rows/s, {run['done']}")
    side_by_side.table(rows_of(runs))
    kept = [{"requests": r, "name": n, "clients": c, "runs": same} for (r, n, c), same in runs.items()]
    side_by_side.save(options, f"ingest-{dataset}", {"left out": left_out, "found": kept})


def main() -> None:
    """Every data set in turn."""
    parser = side_by_side.arguments(__doc__, data=("clustered-300000x384",), names=contenders.SERVERS)
    parser.add_argument("--rows", type=int, default=120_000, help="added while the reader asks")
    parser.add_argument("--before", type=int, default=40_000, help="that are there at first")
    parser.add_argument("--quiet", type=float, default=10, help="seconds that the reader asks before")
    parser.add_argument("--every", type=float, default=0.05, help="seconds between two queries; 0 for no reader")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--requests", nargs="+", default=["client", "beforehand"], choices=REQUESTS)
    parser.add_argument("--flush-rows", type=int, default=None, help="QUIVER_FLUSH_ROWS; by default its default")
    options = side_by_side.parse(parser)
    if options.small:
        options.rows, options.before, options.quiet = 2500, 1500, 1.0
        options.flush_rows = options.flush_rows or 500
    if options.flush_rows:
        os.environ["QUIVER_FLUSH_ROWS"] = str(options.flush_rows)
    for dataset in options.data:
        compare(dataset, options)


if __name__ == "__main__":
    main()
