"""Comparison 1: recall@10 against queries per second, Quiver and its peers side by side, one thread and two.

Run: python -m benchmarks recall_qps [--small] [--data NAME ...] [--contenders NAME ...] [--repeats N] [--reuse]
The figures of the report: python -m benchmarks recall_qps --data debian mnist clustered-300000x384 --reuse
(about 10, 35 and 120 minutes on 2 cores, building included, most of it LanceDB's, zvec's and Chroma's building).

Every contender is built, then opened in a process of its own; then all take turns: in each repeat every one runs
all its settings with one thread on one core, and with two threads on two. Servers and their client share both
cores. Speed at a recall is read between the best points of a repeat; ratios are of the same repeat.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from benchmarks import contenders, plots, side_by_side
from benchmarks.common import spread
from benchmarks.datasets import load, truth
from benchmarks.figures import Point, qps_at
from benchmarks.side_by_side import ContenderError, Process, say, title

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

K = 10
TARGETS = (0.95, 0.99)
THREADS = (1, 2)


def compare(dataset: str, options: argparse.Namespace) -> None:
    """One data set: build, measure, print, save, plot."""
    print(f"\n### {dataset}\n{side_by_side.describe(dataset)}", flush=True)
    truth(load(dataset))
    names, left_out = side_by_side.available(options.contenders)
    with side_by_side.index_folder(dataset, reuse=options.reuse) as folder, ExitStack() as stack:
        opened: dict[str, tuple[Process, list[dict[str, Any]]]] = {}
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


def start(
    name: str, dataset: str, folder: Path, options: argparse.Namespace, stack: ExitStack
) -> tuple[Process, list[dict[str, Any]]]:
    """A contender, opened, with the settings of its curve. Raises ContenderError."""
    process = stack.enter_context(Process(name, dataset, folder / name))
    process.call("open")
    knobs = process.call("knobs", k=K)["curve"]
    return process, ends(knobs) if options.small else knobs


def ends(knobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first and the last of the settings."""
    return [knobs[0], knobs[-1]][: len(knobs)]


def measure(
    opened: dict[str, tuple[Process, list[dict[str, Any]]]], options: argparse.Namespace, left_out: dict[str, str]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All runs, and MiB of each contender at the end."""
    runs: list[dict[str, Any]] = []
    for repeat in range(options.repeats):
        for threads in THREADS:
            for name, (process, knobs) in opened.items():
                if name in left_out:
                    continue
                try:
                    for knob in knobs:
                        figures = process.call("measure", **_asked(options, knob, threads))
                        runs.append({"name": name, "repeat": repeat, "threads": threads, "knob": knob, **figures})
                except ContenderError as error:
                    left_out[name] = str(error)
                    say(f"{name}: stopped, {error}")
            say(f"repeat {repeat + 1} of {options.repeats}, {threads} threads: done")
    return runs, {name: p.call("memory") for name, (p, _) in opened.items() if name not in left_out}


def _asked(options: argparse.Namespace, knob: dict[str, Any], threads: int) -> dict[str, Any]:
    return {"knob": knob, "k": K, "threads": threads, "queries": options.queries, "seconds": options.seconds}


def report(runs: list[dict[str, Any]], memory: dict[str, Any], built: dict[str, Any]) -> None:
    """Print the settings' figures, and the speeds and ratios at the target recalls."""
    for threads in THREADS:
        side_by_side.table(curve_rows([run for run in runs if run["threads"] == threads]))
        side_by_side.table(target_rows(runs, threads, memory, built))


def curve_rows(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each setting."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        grouped.setdefault((run["name"], title(run["knob"])), []).append(run)
    return [
        {
            "contender": name,
            "setting": setting,
            "threads": same[0]["threads"],
            "recall@10": f"{same[0]['recall']:.4f} ± {same[0]['half']:.4f}",
            "queries/s": spread([run["qps"] for run in same], digits=0),
            "p50 ms": f"{statistics.median(run['p50 ms'] for run in same):.2f}",
            "p95 ms": f"{statistics.median(run['p95 ms'] for run in same):.2f}",
        }
        for (name, setting), same in grouped.items()
    ]


def target_rows(
    runs: list[dict[str, Any]], threads: int, memory: dict[str, Any], built: dict[str, Any]
) -> list[dict[str, Any]]:
    """A row for each contender: queries per second at each target, and Quiver's multiple of it."""
    names = list(dict.fromkeys(run["name"] for run in runs))
    speeds = {(name, target): speeds_at(runs, name, threads, target) for name in names for target in TARGETS}
    rows = []
    for name in names:
        ours = "quiver-server" if name in contenders.SERVERS else "quiver"
        row: dict[str, Any] = {"contender": name, "threads": threads, "built s": f"{built[name]['seconds']:.1f}"}
        for target in TARGETS:
            own, quiver = speeds[name, target], speeds.get((ours, target), [])
            row[f"queries/s at {target}"] = _spread(own)
            row[f"Quiver's multiple at {target}"] = _spread(multiples(quiver, own), digits=2)
        row["anonymous MiB"] = f"{memory[name]['anonymous']:.0f}" if name in memory else ""
        rows.append(row)
    return rows


def speeds_at(runs: list[dict[str, Any]], name: str, threads: int, target: float) -> list[float | None]:
    """Queries per second at a recall, for each repeat."""
    mine = [run for run in runs if run["name"] == name and run["threads"] == threads]
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
    sets = ("debian", "mnist")
    options = side_by_side.parse(side_by_side.arguments(__doc__, data=sets, names=tuple(contenders.CONTENDERS)))
    for dataset in options.data:
        compare(dataset, options)


if __name__ == "__main__":
    main()
