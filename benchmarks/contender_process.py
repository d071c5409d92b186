"""A contender in a process of its own: takes commands as lines of JSON, answers each with one.

Started by `benchmarks.side_by_side`: python -m benchmarks.contender_process NAME DATASET FOLDER [columns]. What a
contender prints goes to standard error. An answer is {"ok": ...} or {"error": "..."}.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import resource
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import contenders, filters
from benchmarks.common import disk_bytes, memory, peak_memory
from benchmarks.datasets import Truth, load, truth
from benchmarks.figures import estimate, percentile, recall

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from benchmarks.contenders.contract import Contender, Knob, Search
    from benchmarks.filters import Case, Filter

WARM_UP, WARM_UP_SECONDS = 10, 1.0
"""Queries that do not count, and seconds after which no more of them are asked."""
STANDS, STANDS_SECONDS = 0.05, 10.0
"""A process is warm when a pass over its queries was no more than this share quicker than the one before, or after
so many seconds of passes."""


class Session:
    """One contender with one data set; each public method is a command."""

    def __init__(self, contender: Contender) -> None:
        self._contender = contender
        self._opened = False
        self._cases: dict[int, list[Case]] = {}
        self._warmed: set[str] = set()

    def build(self) -> dict[str, Any]:
        """Build; seconds, and those to sync what it left unwritten, peak memory in MiB of this process and of the
        greatest it started, bytes on disk."""
        watch = Watch()
        start = time.perf_counter()
        self._contender.build()
        built = time.perf_counter()
        os.sync()
        return {
            "seconds": built - start,
            "left to write": time.perf_counter() - built,
            "peak MiB": peak_memory([os.getpid()]),
            "peak anonymous MiB": watch.stop(),
            "children MiB": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
            "bytes": disk_bytes(self._contender.disk_folder()),
        }

    def prepare(self, knobs: list[Knob]) -> None:
        """Make what these settings need."""
        self._contender.prepare(knobs)

    def open(self) -> dict[str, Any]:
        """Open; seconds, the memory before in MiB, and the processes that serve from now on."""
        before = memory([os.getpid()])
        start = time.perf_counter()
        self._opened = True
        self._contender.open()
        return {"seconds": time.perf_counter() - start, "before": before, "pids": self._contender.pids()}

    def knobs(self, k: int) -> dict[str, Any]:
        """The settings that trace its curve, and the usual one."""
        return {"curve": self._contender.knobs(k), "usual": self._contender.usual(k)}

    def use(self, knob: Knob) -> None:
        """Search with this setting from now on."""
        self._contender.use(knob)

    def warm(
        self, knob: Knob, k: int, threads: int, queries: int, share: tuple[int, int] | None = None, **_: Any
    ) -> None:
        """Ask what `measure` will ask with these arguments, pass after pass, until their times stand.

        Once for each: what a process has to do at first use is done then.
        """
        asked = json.dumps([knob, k, threads, queries, share])
        if asked in self._warmed:
            return
        self._warmed.add(asked)
        self._contender.use(knob)
        number, count = share or (0, 1)
        use_cores(threads, number, self._contender.pids())
        wanted = self._contender.data.queries[:queries]
        lanes = [range(number + count * lane, len(wanted), count * threads) for lane in range(threads)]
        limit, before, spent = time.perf_counter() + STANDS_SECONDS, math.inf, 0.0
        while spent < before * (1 - STANDS):
            run = _Run(self._contender, wanted, [None] * len(wanted), k, STANDS_SECONDS, 0.0, 0.0)
            run.search(lanes)
            before, spent = spent or math.inf, run.ended - run.begun
            if time.perf_counter() > limit:
                break

    def measure(
        self,
        knob: Knob,
        k: int,
        threads: int,
        queries: int,
        seconds: float,
        case: int | None = None,
        least: float = 0.0,
        share: tuple[int, int] | None = None,
        begin: float = 0.0,
    ) -> dict[str, Any]:
        """Search with the first queries, one at a time by each thread.

        Args:
            seconds: at most so long.
            case: the place in `filters.cases` of the filters to search with.
            least: over and over, for at least so long.
            share: this process's number and how many of them share the queries; it has one core to itself.
            begin: not before this time by time.perf_counter, which all processes share.

        With a share there is more in the figures: the recall of each query, when it began and when it ended.
        """
        data = self._contender.data
        self._contender.use(knob)
        number, count = share or (0, 1)
        use_cores(threads, number, self._contender.pids())
        wanted = data.queries[:queries]
        filtered = None if case is None else self._case(queries, case)
        asked = [None] * len(wanted) if filtered is None else filtered.filters
        lanes = [range(number + count * lane, len(wanted), count * threads) for lane in range(threads)]
        run = _Run(self._contender, wanted, asked, k, seconds, least, begin)
        run.search(lanes)
        answers = truth(data) if filtered is None else filtered.truth
        figures = _figures(run, answers) | self._faults(run.found, filtered, k)
        if share is not None:
            figures |= {"recalls": run.recalls(answers), "begun": run.begun, "ended": run.ended}
        return figures

    def _case(self, queries: int, place: int) -> Case:
        if queries not in self._cases:
            self._cases[queries] = filters.cases(self._contender.data, queries)
        return self._cases[queries][place]

    def memory(self) -> dict[str, float]:
        """MiB of the processes that serve, now."""
        return memory(self._contender.pids())

    def close(self) -> None:
        """Release everything that was opened."""
        if self._opened:
            self._opened = False
            self._contender.close()

    def _faults(self, found: dict[int, list[int]], case: Case | None, k: int) -> dict[str, int]:
        """How many answers were shorter than they had to be, and how many rows they had that must not be there."""
        if case is None:
            rows = len(self._contender.data.rows)
            return {"short": sum(len(ids) < min(k, rows) for ids in found.values()), "wrong": 0}
        table = filters.columns(self._contender.data)
        wrong = 0
        for place, ids in found.items():
            part = {name: column[ids] for name, column in table.items()}
            wrong += len(ids) - int(filters.mask(part, case.filters[place]).sum()) if ids else 0
        return {
            "short": sum(len(ids) < min(k, case.matches[place]) for place, ids in found.items()),
            "wrong": wrong,
        }


class _Run:
    """Threads that search; then `times` in seconds, `found` ids by the query's place, `begun` and `ended`."""

    def __init__(
        self,
        contender: Contender,
        queries: np.ndarray,
        asked: list[Filter | None],
        k: int,
        seconds: float,
        least: float,
        begin: float,
    ) -> None:
        self.times: list[float] = []
        self.found: dict[int, list[int]] = {}
        self.begun, self.ended = 0.0, 0.0
        self._contender = contender
        self._queries, self._asked, self._k = queries, asked, k
        self._seconds, self._least, self._begin = seconds, least, begin
        self._failures: list[BaseException] = []

    def search(self, lanes: list[range]) -> None:
        """A thread for each lane, which are places of queries."""
        self._ready = threading.Barrier(len(lanes), action=self._start)
        workers = [threading.Thread(target=self._guarded, args=(lane,)) for lane in lanes]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if self._failures:
            raise self._failures[0]

    def recalls(self, answers: Truth) -> list[float]:
        """Of each query that was asked."""
        return [
            recall(ids, answers.ids[place], answers.distances[place], self._k) for place, ids in self.found.items()
        ]

    def _start(self) -> None:
        time.sleep(max(0.0, self._begin - time.perf_counter()))
        self.begun = time.perf_counter()

    def _guarded(self, lane: range) -> None:
        try:
            self._drive(lane)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            self._failures.append(error)
            self._ready.abort()

    def _drive(self, lane: range) -> None:
        search: Search = self._contender.searcher()
        self._warm_up(search, lane)
        self._ready.wait()
        for asked, place in enumerate(itertools.cycle(lane), 1):
            start = time.perf_counter()
            self.found[place] = search(self._queries[place], self._k, self._asked[place])
            now = time.perf_counter()
            self.times.append(now - start)
            passed = now - self.begun
            if passed > self._seconds or (asked >= len(lane) and passed > self._least):
                break
        self.ended = max(self.ended, time.perf_counter())

    def _warm_up(self, search: Search, lane: range) -> None:
        limit = time.perf_counter() + WARM_UP_SECONDS
        for place in lane[:WARM_UP]:
            search(self._queries[place], self._k, self._asked[place])
            if time.perf_counter() > limit:
                break


class Watch:
    """A thread that notes the most anonymous memory that this process has."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._peak = 0.0
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """MiB."""
        self._stopped.set()
        self._thread.join()
        return self._peak

    def _look(self) -> None:
        while not self._stopped.wait(0.2):
            lines = Path("/proc/self/status").read_text().splitlines()
            now = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
            self._peak = max(self._peak, now / 1024)


def _figures(run: _Run, answers: Truth) -> dict[str, Any]:
    mean, half = estimate(run.recalls(answers))
    return {
        "recall": mean,
        "half": half,
        "qps": len(run.times) / (run.ended - run.begun),
        "p50 ms": percentile(run.times, 0.5) * 1e3,
        "p95 ms": percentile(run.times, 0.95) * 1e3,
        "queries": len(run.found),
        "asked": len(run.times),
    }


def use_cores(count: int, first: int, pids: list[int]) -> None:
    """Let this process use `count` cores from now on, whatever threads it has; servers keep all."""
    if pids != [os.getpid()]:
        return
    cores = sorted(os.sched_getaffinity(os.getppid()), reverse=True)
    chosen = {cores[(first + number) % len(cores)] for number in range(count)}
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(int(thread.name), chosen)


def serve(make: Callable[[], Any]) -> None:
    """Obey commands, which are public methods of what is made, until standard input ends; then `close` it."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    session = make()
    for line in sys.stdin:
        command = json.loads(line)
        try:
            done = getattr(session, command.pop("do"))(**command)
            answer = {"ok": done}
        except Exception as error:  # noqa: BLE001 - the other side decides what a failure means
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
    session.close()
    os._exit(0)  # some contenders leave threads that never end


def make_session() -> Session:
    """What the command line names."""
    name, dataset, folder = sys.argv[1:4]
    data = load(dataset)
    table = filters.columns(data) if "columns" in sys.argv[4:] else None
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Session(contenders.find(name)(data, Path(folder), table))


if __name__ == "__main__":
    serve(make_session)
