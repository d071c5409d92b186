"""A node that reads an index, in a process of its own: takes commands as lines of JSON, answers each with one.

Started by `Reader`: python -m benchmarks.reader_process CONTENDER DATASET FOLDER, with the URL of the index in
QUIVER_BENCH_URL and settings of Quiver in their own variables. Moments are by time.monotonic, which all processes
share.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.contender_process import serve, use_cores
from benchmarks.datasets import load
from benchmarks.side_by_side import Process

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.contenders.lance_node import LanceNode
    from benchmarks.contenders.quiver_node import QuiverNode

K = 10
NODES = {"quiver": ("quiver_node", "QuiverNode"), "lancedb-ivf-pq": ("lance_node", "LanceNode")}


class Reader(Process):
    """The process from outside.

    Args:
        contender: one of NODES.
        log: a file for what it prints.
        url: of the index; a directory for Quiver.
        variables: the environment besides.
        distant: read a directory like a remote store.
    """

    module = "benchmarks.reader_process"

    def __init__(
        self,
        contender: str,
        dataset: str,
        log: Path,
        url: str,
        variables: dict[str, str],
        *,
        distant: bool = False,
    ) -> None:
        more = {"QUIVER_BENCH_URL": url, "QUIVER_BENCH_DISTANT": "1" if distant else ""}
        more["QUIVER_ROLE"] = "reader"
        more["PYTHONDONTWRITEBYTECODE"] = ""  # compiling what is imported late is not to be measured
        super().__init__(contender, dataset, log, variables=variables | more)


class Node:
    """One contender; each public method is a command."""

    def __init__(self, contender: QuiverNode | LanceNode) -> None:
        self._contender = contender
        self._opened = False

    def open(self) -> dict[str, Any]:
        """Open the index, without asking anything; when that began and ended."""
        begun = time.monotonic()
        self._opened = True
        self._contender.open()
        return {"begun": begun, "ended": time.monotonic(), "pids": [os.getpid()]}

    def ask(self, place: int) -> dict[str, Any]:
        """One query of the data set; the ids found, when it was begun, when it was answered."""
        query = np.array(self._contender.data.queries[place])
        search = self._contender.searcher()
        begun = time.monotonic()
        found = search(query, K, None)
        return {"begun": begun, "ended": time.monotonic(), "found": found}

    def walk(self, queries: int, *, first: int = 0, emptied: bool = False) -> dict[str, Any]:
        """Queries of the data set in turn, on one core: seconds of each, counts before and after.

        Args:
            queries: how many, from the query `first` on.
            emptied: drop what its caches have in memory before each query.
        """
        use_cores(1, 0, [os.getpid()])
        search = self._contender.searcher()
        before, times, found = self.counts(), [], []
        for query in self._contender.data.queries[first : first + queries]:
            if emptied:
                self._contender.empty()
            start = time.perf_counter()
            found.append(search(query, K, None))
            times.append(time.perf_counter() - start)
        return {"times": times, "found": found, "before": before, "after": self.counts()}

    def run(self, begin: float, seconds: float, threads: int, seed: int) -> dict[str, Any]:
        """Ask with rows chosen at random, each thread one after the other, from a moment on.

        Returns: when each answer came and how many seconds it took, by time; counts every half second.
        """
        end = begin + seconds
        times: list[tuple[float, float]] = []
        workers = [
            threading.Thread(target=self._ask_until, args=(begin, end, [seed, number], times))
            for number in range(threads)
        ]
        for worker in workers:
            worker.start()
        timeline = []
        while any(worker.is_alive() for worker in workers):
            timeline.append((time.monotonic(), self.counts()))
            time.sleep(0.5)
        timeline.append((time.monotonic(), self.counts()))
        return {"times": sorted(times), "timeline": timeline}

    def _ask_until(self, begin: float, end: float, seed: list[int], times: list[tuple[float, float]]) -> None:
        search, rows = self._contender.searcher(), self._contender.data.rows
        chance = np.random.default_rng(seed)
        time.sleep(max(0.0, begin - time.monotonic()))
        while (start := time.monotonic()) < end:
            search(np.array(rows[chance.integers(len(rows))]), K, None)
            times.append((time.monotonic(), time.monotonic() - start))

    def counts(self) -> dict[str, int]:
        """What its caches did since it was opened."""
        return self._contender.counts()

    def close(self) -> None:
        """Release everything."""
        if self._opened:
            self._opened = False
            self._contender.close()


def _make() -> Node:
    name, dataset = sys.argv[1:3]
    module, classname = NODES[name]
    make = getattr(import_module(f"benchmarks.contenders.{module}"), classname)
    data, url = load(dataset), os.environ["QUIVER_BENCH_URL"]
    more = {"distant": True} if os.environ["QUIVER_BENCH_DISTANT"] else {}
    return Node(make(data, url, **more))


if __name__ == "__main__":
    serve(_make)
