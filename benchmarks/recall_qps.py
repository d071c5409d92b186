"""Comparison 1: recall@10 against queries per second, Quiver and its peers; one thread, two, two processes.

Run: python -m benchmarks recall_qps [--small] [--data NAME ...] [--contenders NAME ...] [--repeats N] [--reuse]
The figures of the report: python -m benchmarks recall_qps --data debian mnist clustered-300000x384 --reuse
(about 20, 45 and 150 minutes on 2 cores, building included, most of it LanceDB's, zvec's and Chroma's building).

Every contender is built, then opened in two processes of its own; then all take turns: in each repeat every one
runs all its settings with one thread on one core, with two threads of one process on two, and with two processes
that each have one thread and one core and share the queries. Two processes open one index, if the contender can:
Quiver maps it, so they share its pages. Servers and their client share both cores, and have no two processes here.

Every process is warm: before a setting is first timed, the same queries are asked in passes that do not count, by
as many threads, until a pass is hardly quicker than the one before it (or for ten seconds). So nothing is timed
that is done once: Quiver verifies blocks at first use, others load lazily. Then queries are asked over and over
for at least --least seconds. Speed at a recall is read between the best points of a repeat; ratios are of the same
repeat.

Memory is that of all serving processes together, from /proc/PID/smaps_rollup, after the last repeat. `anonymous`
is what they allocated, Python and libraries included; `of the index` is what of it came after the imports, since
just before the index was opened (servers: all of it). `pages of files` is what they touched of mapped files,
libraries included: page cache, which the kernel shares between processes and takes back when it needs it.
"""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks import contenders, plots, side_by_side
from benchmarks.common import spread
from benchmarks.datasets import load, truth
from benchmarks.figures import Point, estimate, qps_at
from benchmarks.side_by_side import ContenderError, Process, say, title

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence
    from pathlib import Path

K = 10
TARGETS = (0.95, 0.99)
AHEAD_SECONDS = 1.2
"""How long before they begin processes that begin together are told: they warm up meanwhile."""


class Mode(NamedTuple):
    """How many search at once."""

    name: str
    threads: int
    processes: int


MODES = (Mode("1 thread", 1, 1), Mode("2 threads", 2, 1), Mode("2 processes", 1, 2))


class Opened(NamedTuple):
    """A contender's processes, at least one; the settings of its curve; MiB of each process before it opened."""

    processes: list[Process]
    knobs: list[dict[str, Any]]
    before: list[float]


def compare(dataset: str, options: argparse.Namespace) -> None:
    """One data set: build, measure, print, save, plot."""
    print(f"\n### {dataset}\n{side_by_side.describe(dataset)}", flush=True)
    truth(load(dataset))
    names, left_out = side_by_side.available(options.contenders)
    with side_by_side.index_folder(dataset, reuse=options.reuse) as folder, ExitStack() as stack:
        opened: dict[str, Opened] = {}
        built: dict[str, Any] = {}
        for name in names:
            try:
                built[name] = side_by_side.build(name, dataset, folder, curve=ends if options.small else list)
                say(f"{name}: built in {built[name]['seconds']:.1f} s")
                opened[name] = start(name, dataset, folder, options, stack)
            except ContenderError as error:
                left_out[name] = str(error)
                say(f"{name}: left out, {error}")
        runs, memory = measure(opened, options, left_out)
    report(runs, memory, built)
    kept = {name: side_by_side.settings(name) for name in built}
    result = {"data": side_by_side.describe(dataset), "settings": kept, "left out": left_out, "built": built}
    side_by_side.save(options, f"recall_qps-{dataset}", result | {"memory": memory, "runs": runs})
    plots.recall_against_speed(runs, dataset, options.out)


def start(name: str, dataset: str, folder: Path, options: argparse.Namespace, stack: ExitStack) -> Opened:
    """A contender, opened twice where it can be, with the settings of its curve. Raises ContenderError."""
    first = stack.enter_context(Process(name, dataset, folder / name))
    before = [first.call("open")["before"]["anonymous"]]
    knobs = first.call("knobs", k=K)["curve"]
    processes = [first]
    if name not in contenders.SERVERS:
        second = stack.enter_context(Process(name, dataset, folder / name))
        try:
            before.append(second.call("open")["before"]["anonymous"])
            processes.append(second)
        except ContenderError as error:
            say(f"{name}: no two processes, {error}")
    before = [0.0] if name in contenders.SERVERS else before  # what `open` saw is their client
    return Opened(processes, ends(knobs) if options.small else knobs, before)


def ends(knobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first and the last of the settings."""
    return [knobs[0], knobs[-1]][: len(knobs)]


def measure(
    opened: dict[str, Opened], options: argparse.Namespace, left_out: dict[str, str]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All runs, and MiB of each contender's processes at the end."""
    runs: list[dict[str, Any]] = []
    for repeat in range(options.repeats):
        for mode in MODES:
            for name, contender in opened.items():
                if name in left_out or len(contender.processes) < mode.processes:
                    continue
                try:
                    for knob in contender.knobs:
                        figures = search(contender.processes, mode, knob, options)
                        runs.append({"name": name, "repeat": repeat, "mode": mode.name, "knob": knob, **figures})
                except ContenderError as error:
                    left_out[name] = str(error)
                    say(f"{name}: stopped, {error}")
            say(f"repeat {repeat + 1} of {options.repeats}, {mode.name}: done")
    memory = {
        name: [
            process.call("memory") | {"before": before}
            for process, before in zip(contender.processes, contender.before, strict=True)
        ]
        for name, contender in opened.items()
        if name not in left_out
    }
    return runs, memory


def search(
    processes: list[Process], mode: Mode, knob: dict[str, Any], options: argparse.Namespace
) -> dict[str, Any]:
    """The figures of one setting. Raises ContenderError."""
    asked = {"knob": knob, "k": K, "threads": mode.threads, "queries": options.queries}
    asked |= {"seconds": options.seconds, "least": options.least}
    if mode.processes == 1:
        processes[0].call("warm", **asked)
        return processes[0].call("measure", **asked)
    for number, process in enumerate(processes):
        process.call("warm", **asked, share=[number, len(processes)])
        process.call("use", knob=knob)  # which may take long
    begin = time.perf_counter() + AHEAD_SECONDS
    for number, process in enumerate(processes):
        process.ask("measure", **asked, share=[number, len(processes)], begin=begin)
    found, errors = [], []
    for process in processes:
        try:
            found.append(process.answer("measure"))
        except ContenderError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return together(found)


def together(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of processes that searched at once: recall of all queries, speed over all time, worst latency."""
    mean, half = estimate([one for part in parts for one in part["recalls"]])
    asked = sum(part["asked"] for part in parts)
    begun, ended = min(part["begun"] for part in parts), max(part["ended"] for part in parts)
    return {
        "recall": mean,
        "half": half,
        "qps": asked / (ended - begun),
        "p50 ms": max(part["p50 ms"] for part in parts),
        "p95 ms": max(part["p95 ms"] for part in parts),
        "queries": sum(part["queries"] for part in parts),
        "asked": asked,
        "short": sum(part["short"] for part in parts),
        "wrong": sum(part["wrong"] for part in parts),
    }


def report(runs: list[dict[str, Any]], memory: dict[str, Any], built: dict[str, Any]) -> None:
    """Print the settings' figures, and the speeds and ratios at the target recalls."""
    for mode in MODES:
        side_by_side.table(curve_rows([run for run in runs if run["mode"] == mode.name]))
        side_by_side.table(target_rows(runs, mode, memory, built))


def curve_rows(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each setting."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        grouped.setdefault((run["name"], title(run["knob"])), []).append(run)
    return [
        {
            "contender": name,
            "setting": setting,
            "by": same[0]["mode"],
            "recall@10": f"{same[0]['recall']:.4f} ± {same[0]['half']:.4f}",
            "queries/s": spread([run["qps"] for run in same], digits=0),
            "p50 ms": f"{statistics.median(run['p50 ms'] for run in same):.2f}",
            "p95 ms": f"{statistics.median(run['p95 ms'] for run in same):.2f}",
        }
        for (name, setting), same in grouped.items()
    ]


def target_rows(
    runs: list[dict[str, Any]], mode: Mode, memory: dict[str, Any], built: dict[str, Any]
) -> list[dict[str, Any]]:
    """A row for each contender: queries per second at each target, and Quiver's multiple of it."""
    names = list(dict.fromkeys(run["name"] for run in runs if run["mode"] == mode.name))
    speeds = {(name, target): speeds_at(runs, name, mode, target) for name in names for target in TARGETS}
    rows = []
    for name in names:
        ours = "quiver-server" if name in contenders.SERVERS else "quiver"
        row: dict[str, Any] = {"contender": name, "by": mode.name, "built s": f"{built[name]['seconds']:.1f}"}
        for target in TARGETS:
            own, quiver = speeds[name, target], speeds.get((ours, target), [])
            row[f"queries/s at {target}"] = _spread(own)
            row[f"Quiver's multiple at {target}"] = _spread(multiples(quiver, own), digits=2)
        rows.append(row | memory_columns(memory.get(name, [])[: mode.processes]))
    return rows


def memory_columns(serving: Sequence[dict[str, float]]) -> dict[str, str]:
    """What processes hold together: all, what came with the index, and pages of files apart."""
    return {
        "anonymous MiB": _total(each["anonymous"] for each in serving),
        "of the index": _total(each["anonymous"] - each["before"] for each in serving),
        "pages of files MiB": _total(each["rss"] - each["anonymous"] for each in serving),
    }


def _total(values: Iterable[float]) -> str:
    known = list(values)
    return f"{sum(known):.0f}" if known else ""


def speeds_at(runs: list[dict[str, Any]], name: str, mode: Mode, target: float) -> list[float | None]:
    """Queries per second at a recall, for each repeat."""
    mine = [run for run in runs if run["name"] == name and run["mode"] == mode.name]
    repeats = sorted({run["repeat"] for run in mine})
    curves = [[Point(run["recall"], run["qps"]) for run in mine if run["repeat"] == repeat] for repeat in repeats]
    return [qps_at(curve, target) for curve in curves]


def multiples(ours: Sequence[float | None], theirs: Sequence[float | None]) -> list[float | None]:
    """Ratios of the repeats in which both reached the recall."""
    return [a / b if a and b else None for a, b in zip(ours, theirs, strict=False)]


def _spread(values: Sequence[float | None], digits: int = 0) -> str:
    known = [value for value in values if value is not None]
    return spread(known, digits=digits) if known else "not reached"


def main() -> None:
    """Every data set in turn."""
    parser = side_by_side.arguments(__doc__, data=("debian", "mnist"), names=contenders.SEARCHED)
    parser.add_argument("--least", type=float, default=0.3, help="seconds, for one setting of one contender")
    options = side_by_side.parse(parser)
    for dataset in options.data:
        compare(dataset, options)


if __name__ == "__main__":
    main()
