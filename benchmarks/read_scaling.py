"""Comparison 9: one, two and four reader processes of Quiver over one bucket, and what a node costs that joins.

Run: python -m benchmarks read_scaling [--small] [--data SET ...] [--seconds S] [--threads T] [--memory MIB]
The figures of the report: python -m benchmarks read_scaling (10 minutes, and building if the index is missing).

Each reader has caches of its own: `--memory` MiB in memory, and a folder on disk. Its threads ask one query after
the other, each with a stored row chosen at random, so that the caches meet all of the index; reads are strong. The
first `--warm` seconds do not count. Store and readers share this machine's cores. In two stages: with a simulated
latency (log-normal, median 30 ms, p99 100 ms, 85 MB/s for each connection), where readers mostly wait for the
store; and with nothing simulated, where processors are the limit.

A node that joins is begun with empty caches beside one that is warm, and begun again with what it then has on
disk. It counts as warm with the first of WINDOW queries in a row whose median is at most WARM times that of the
other node meanwhile; until then its requests, bytes and dollars (by the prices of S3 Standard) count, those of
opening too.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import built_indexes, plots, side_by_side
from benchmarks.built_indexes import PREFIX, QUIVER
from benchmarks.cold_query import standard_prices
from benchmarks.common import scratch
from benchmarks.figures import percentile
from benchmarks.object_store import ObjectStore
from benchmarks.reader_process import Reader
from benchmarks.request_log import CLOUD, NONE, Latency, asked, between, dollars
from benchmarks.side_by_side import ContenderError, say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

STAGES: dict[str, Latency] = {"simulated": CLOUD, "nothing simulated": NONE}
READERS = (1, 2, 4)
WINDOW, WARM = 30, 1.2


class Bench:
    """One data set in one store; `folder` is for caches and logs."""

    def __init__(self, dataset: str, store: ObjectStore, folder: Path, options: argparse.Namespace) -> None:
        self._dataset = dataset
        self._store = store
        self._folder = folder
        self._options = options

    def reader(self, name: str) -> Reader:
        """A new process; one of the same name before it leaves it its folder on disk."""
        variables = self._store.environment(name) | {
            "QUIVER_CACHE_BYTES": str(self._options.memory << 20),
            "QUIVER_CACHE_FOLDER": str(self._folder / name),
        }
        url = self._store.url(self._dataset, PREFIX[QUIVER])
        return Reader(QUIVER, self._dataset, self._folder / "log", url, variables)

    def together(self, stage: str, count: int) -> list[dict[str, Any]]:
        """So many readers at once, warm; what each did. Raises ContenderError."""
        names = [f"{stage.replace(' ', '-')}-{count}-{number}" for number in range(count)]
        with contextlib.ExitStack() as stack:
            nodes = [stack.enter_context(self.reader(name)) for name in names]
            for node in nodes:
                node.call("open")
            self._run(nodes, self._options.warm, 0)
            self._store.clear()
            runs = self._run(nodes, self._options.seconds, len(nodes))
        log = self._store.log()
        for name, run in zip(names, runs, strict=True):
            run["asked"] = asked(record for record in log if record.client == name)._asdict()
        return runs

    def _run(self, nodes: Sequence[Reader], seconds: float, seed: int) -> list[dict[str, Any]]:
        begin = time.monotonic() + 0.5
        for number, node in enumerate(nodes):
            self._ask(node, begin, seconds, 100 * seed + number)
        return [node.answer("run") for node in nodes]

    def _ask(self, node: Reader, begin: float, seconds: float, seed: int) -> None:
        node.ask("run", begin=begin, seconds=seconds, threads=self._options.threads, seed=seed)

    def joining(self, stage: str) -> dict[str, dict[str, Any]]:
        """What it costs to join with empty caches, and with those left on disk. Raises ContenderError."""
        name = f"joining-{stage.replace(' ', '-')}"
        with self.reader(f"{name}-other") as other:
            other.call("open")
            self._run([other], self._options.warm, 7)
            return {caches: self._join(other, name) for caches in ("empty", "left on disk")}

    def _join(self, other: Reader, name: str) -> dict[str, Any]:
        self._store.clear()
        with self.reader(name) as node:
            seconds = self._options.seconds
            self._ask(other, time.monotonic(), 2 * seconds, 8)  # opening takes a part of it
            opened = node.call("open")
            self._ask(node, opened["ended"], seconds, 9)
            mine, others = node.answer("run"), other.answer("run")
            node.call("close")
        usual = statistics.median(seconds for _, seconds in others["times"])
        moment = warm_at(mine["times"], usual)
        records = between(self._store.log(), opened["begun"], moment or opened["begun"] + seconds, name)
        return {
            "seconds to open": opened["ended"] - opened["begun"],
            "first query ms": min(mine["times"])[1] * 1e3,
            "seconds until warm": moment and moment - opened["begun"],
            "usual ms": usual * 1e3,
            "asked": asked(records)._asdict(),
            "requests": asked(records).requests,
            "dollars": dollars(standard_prices(), records),
            "times": mine["times"],
        }


def warm_at(times: list[tuple[float, float]], usual: float) -> float | None:
    """When a node became warm; None when it did not.

    Args:
        times: when each query was answered, and how long it took, by time.
        usual: how long one takes.
    """
    for first in range(len(times) - WINDOW + 1):
        if statistics.median(seconds for _, seconds in times[first : first + WINDOW]) <= WARM * usual:
            return times[first][0]
    return None


def row(dataset: str, stage: str, runs: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """A line of the table."""
    times = [took for run in runs for _, took in run["times"]]
    blocks = {name: _grown(runs, name) for name in ("found_in_memory", "found_on_disk", "fetched")}
    return {
        "data": dataset,
        "stage": stage,
        "readers": len(runs),
        "queries/s": f"{len(times) / seconds:.0f}",
        "p50 / p99 ms": f"{statistics.median(times) * 1e3:.1f} / {percentile(times, 0.99) * 1e3:.1f}",
        "blocks a query: memory, disk, store": ", ".join(f"{n / len(times):.2f}" for n in blocks.values()),
        "found": _share(blocks["found_in_memory"] + blocks["found_on_disk"], blocks["fetched"]),
        "on disk, of those not in memory": _share(blocks["found_on_disk"], blocks["fetched"]),
        "requests a query": f"{sum(_requests(run) for run in runs) / len(times):.2f}",
        "KB a query": f"{sum(run['asked']['received'] for run in runs) / len(times) / 1e3:.1f}",
    }


def _share(hits: float, misses: float) -> str:
    return f"{hits / (hits + misses):.1%}" if hits + misses else "nothing asked"


def _requests(run: dict[str, Any]) -> float:
    return sum(run["asked"][kind] for kind in ("puts", "gets", "lists", "deletes"))


def _grown(runs: list[dict[str, Any]], name: str) -> float:
    return sum(run["timeline"][-1][1].get(name, 0) - run["timeline"][0][1].get(name, 0) for run in runs)


def joining_row(dataset: str, stage: str, caches: str, found: dict[str, Any]) -> dict[str, Any]:
    """A line of the table."""
    warm = found["seconds until warm"]
    return {
        "data": dataset,
        "stage": stage,
        "caches": caches,
        "opened in s": f"{found['seconds to open']:.2f}",
        "first query ms": f"{found['first query ms']:.0f}",
        "warm after s": "not meanwhile" if warm is None else f"{warm:.1f}",
        "requests": f"{found['requests']:.0f}",
        "MB": f"{found['asked']['received'] / 1e6:.1f}",
        "dollars": f"{found['dollars']:.5f}",
        "a query of the other, ms": f"{found['usual ms']:.1f}",
    }


def compare(dataset: str, options: argparse.Namespace) -> dict[str, Any]:
    """Everything on one data set, by stage. Raises ContenderError."""
    built_indexes.build_all(dataset)
    folder = Path(tempfile.mkdtemp(prefix="quiver-bench-", dir=scratch()))
    results: dict[str, Any] = {}
    try:
        with ObjectStore(built_indexes.store_folder()) as store:
            bench = Bench(dataset, store, folder, options)
            for stage, latency in STAGES.items():
                store.simulate(latency)
                together = {count: bench.together(stage, count) for count in options.readers}
                results[stage] = {"together": together, "joining": bench.joining(stage)}
                say(f"{dataset}: {stage}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return results


def main() -> None:
    """Every data set in turn."""
    parser = side_by_side.arguments(__doc__, data=("clustered-300000x384",), names=(QUIVER,))
    parser.set_defaults(seconds=20.0)
    parser.add_argument("--readers", type=int, nargs="+", default=list(READERS))
    parser.add_argument("--threads", type=int, default=4, help="of each reader: %(default)s")
    parser.add_argument("--memory", type=int, default=64, help="MiB for blocks of each reader: %(default)s")
    parser.add_argument("--warm", type=float, default=20.0, help="seconds before what counts: %(default)s")
    options = side_by_side.parse(parser)
    if options.small:
        options.readers, options.threads, options.memory = [1, 2], 2, 16
        options.seconds = options.warm = 3.0
    for dataset in options.data:
        try:
            results = compare(dataset, options)
        except ContenderError as error:
            say(f"{dataset}: left out, {error}")
            continue
        report(dataset, results, options)


def report(dataset: str, results: dict[str, Any], options: argparse.Namespace) -> None:
    """Tables, files and the plot."""
    together = {
        (stage, count): row(dataset, stage, runs, options.seconds)
        for stage, found in results.items()
        for count, runs in found["together"].items()
    }
    side_by_side.table(list(together.values()))
    joining = [
        joining_row(dataset, stage, caches, one)
        for stage, found in results.items()
        for caches, one in found["joining"].items()
    ]
    side_by_side.table(joining)
    timelines = {
        f"{stage}, {count}": [run["timeline"] for run in runs]
        for stage, found in results.items()
        for count, runs in found["together"].items()
    }
    found = {"readers": list(together.values()), "joining": joining, "timelines": timelines}
    side_by_side.save(options, f"read_scaling-{dataset}", found)
    series: dict[str, dict[int, float]] = {}
    for (stage, count), line in together.items():
        series.setdefault(stage, {})[count] = float(line["queries/s"])
    plots.read_scaling(series, dataset, options.out)


if __name__ == "__main__":
    main()
