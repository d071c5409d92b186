"""Comparison 3: time to store and index a data set, embedded; and ingest through HTTP beside Chroma's server.

Run: python -m benchmarks build_time [--small] [--data NAME ...] [--contenders NAME ...] [--repeats N]
The figures of the report: python -m benchmarks build_time --data debian mnist clustered-300000x384 --repeats 3
(about 5, 20 and 150 minutes on 2 cores), and for Quiver alone
python -m benchmarks build_time --data clustered-1000000x768 --contenders quiver --repeats 1 (about 10 minutes).

A build counts from empty to everything indexed and on disk, all cores, no metadata; contenders take turns. Peak is
the building process's resident memory, memory-mapped input included; `of its children` is that of the greatest
process it started. HTTP ingest: each server's own client (boto3 in batches of 500,
chromadb's in 1,000), then with request bodies made beforehand, which leaves the servers' work; 1 and 2 clients at
once; Quiver also by Arrow in batches of 5,000. A row counts when its request was answered; Quiver has forced it to
disk then. More rows than 32,768 are flushed and indexed meanwhile.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import contenders, side_by_side
from benchmarks.common import scratch, spread
from benchmarks.contenders.contract import batches
from benchmarks.datasets import load
from benchmarks.side_by_side import ContenderError, say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from benchmarks.contenders.contract import Contender

CLIENTS = (1, 2)
REQUESTS = {False: "by its client", True: "made beforehand"}


def compare(dataset: str, options: argparse.Namespace) -> dict[str, Any]:
    """Build everything, in turns; prints and returns what came out."""
    print(f"\n### {dataset}", flush=True)
    load(dataset)
    names, left_out = side_by_side.available(options.contenders)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for repeat in range(options.repeats):
        for name in names:
            if name in left_out:
                continue
            with side_by_side.index_folder(dataset, reuse=False) as folder:
                try:
                    runs[name].append(side_by_side.build(name, dataset, folder))
                    say(f"{repeat + 1} of {options.repeats}, {name}: {runs[name][-1]['seconds']:.1f} s")
                except ContenderError as error:
                    left_out[name] = str(error)
                    say(f"{name}: left out, {error}")
    runs = {name: made for name, made in runs.items() if made}
    side_by_side.table([row(name, made, runs.get("quiver")) for name, made in runs.items()])
    return {"left out": left_out, "runs": runs}


def row(name: str, made: list[dict[str, Any]], quiver: list[dict[str, Any]] | None) -> dict[str, Any]:
    """A contender's line."""
    seconds = [run["seconds"] for run in made]
    ratios = [theirs / run["seconds"] for run, theirs in zip(quiver or [], seconds, strict=False)]
    return {
        "contender": name,
        "seconds": spread(seconds),
        "times Quiver's": spread(ratios) if ratios else "",
        "peak MiB": f"{statistics.median(run['peak MiB'] for run in made):.0f}",
        "of its children": f"{statistics.median(run['children MiB'] for run in made):.0f}",
        "MB on disk": f"{statistics.median(run['bytes'] for run in made) / 1e6:.1f}",
    }


# ---------------------------------------------------------------- through HTTP


def ingest(dataset: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows per second through each server's client, servers taking turns."""
    data = load(dataset)
    names, _ = side_by_side.available(contenders.SERVERS)
    speeds: dict[tuple[str, int, bool], list[float]] = {}
    for _ in range(options.repeats):
        for bodies, clients, name in itertools.product((False, True), CLIENTS, names):
            with tempfile.TemporaryDirectory(prefix="quiver-bench-", dir=scratch()) as folder:
                contender = contenders.find(name)(data, Path(folder))
                speed = _ingest_once(contender, min(options.rows, len(data.rows)), clients, bodies=bodies)
            speeds.setdefault((name, clients, bodies), []).append(speed)
            say(f"{name}, {clients} clients, {REQUESTS[bodies]}: {speed:,.0f} rows/s")
    rows = []
    for (name, clients, bodies), found in speeds.items():
        chroma = speeds.get(("chroma-server", clients, bodies), [])
        ratios = [ours / theirs for ours, theirs in zip(found, chroma, strict=False)]
        ratio = spread(ratios, digits=2) if ratios else ""
        rows.append(
            {
                "server": name,
                "requests": REQUESTS[bodies],
                "clients": clients,
                "rows/s": spread(found, digits=0),
                "times Chroma's": ratio,
            }
        )
    side_by_side.table(rows)
    return rows


def _ingest_once(contender: Contender, count: int, clients: int, *, bodies: bool) -> float:
    """Rows per second, the first `count` of them, in an index made for it."""
    with contender.ingesting(bodies=bodies) as ingest:
        waiting = iter([ingest.make(part) for part in batches(count, ingest.size)])
        lock = threading.Lock()
        failures: list[BaseException] = []
        adders = [ingest.connect() for _ in range(clients)]

        def drain(add: Callable[[Any], object]) -> None:
            try:
                while True:
                    with lock:
                        part = next(waiting, None)
                    if part is None:
                        return
                    add(part)
            except BaseException as error:  # noqa: BLE001 - raised again below
                failures.append(error)

        threads = [threading.Thread(target=drain, args=(add,)) for add in adders]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - start
    if failures:
        raise failures[0]
    return count / seconds


def main() -> None:
    """Every data set in turn."""
    parser = side_by_side.arguments(__doc__, data=("debian", "mnist"), names=contenders.EMBEDDED)
    parser.add_argument("--rows", type=int, default=60_000, help="at most, through HTTP")
    parser.add_argument("--no-http", action="store_true", help="leave out the ingest through HTTP")
    options = side_by_side.parse(parser)
    for dataset in options.data:
        result = compare(dataset, options)
        if not options.no_http:
            print(f"\n### {dataset}, through HTTP", flush=True)
            result["http"] = ingest(dataset, options)
        side_by_side.save(options, f"build_time-{dataset}", result)


if __name__ == "__main__":
    main()
