"""Comparison 2: filtered search, by selectivity and by how the filter relates to the query.

Run: python -m benchmarks filtered [--small] [--data NAME ...] [--contenders NAME ...] [--repeats N] [--reuse]
The figures of the report: python -m benchmarks filtered --data debian mnist clustered-300000x384 --reuse
(about 10, 25 and 90 minutes on 2 cores, building with the metadata columns included).

50 %, 10 %, 1 %, 0.1 % and 0.01 % of the rows let through; at random, nearest to the query, farthest from it
(`benchmarks.filters`). Every contender has its usual setting, one thread, one core (servers share both with their
client). An answer is short when it has fewer than min(k, matching rows) rows; a wrong row does not match the
filter.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from benchmarks import contenders, filters, plots, side_by_side
from benchmarks.common import spread
from benchmarks.datasets import load
from benchmarks.side_by_side import ContenderError, Process, say

if TYPE_CHECKING:
    import argparse

    from benchmarks.filters import Case

NAMES = tuple(name for name in contenders.SEARCHED if name not in {"faiss-rabitq", "hnswlib", "quiver-kdtree-lsh"})
"""hnswlib filters by a Python call for each row it visits, the bare kernel has no columns, and a kd-tree with sign
hashes is for comparing structures."""
DEPTHS = (10, 100)


def compare(dataset: str, options: argparse.Namespace) -> None:
    """One data set: build, measure, print, save, plot."""
    print(f"\n### {dataset}", flush=True)
    data = load(dataset)
    filters.columns(data)
    cases = filters.cases(data, options.queries)
    names, left_out = side_by_side.available(options.contenders)
    runs: list[dict[str, Any]] = []
    with side_by_side.index_folder(dataset, reuse=options.reuse, columns=True) as folder, ExitStack() as stack:
        opened: dict[str, Process] = {}
        for name in names:
            try:
                built = side_by_side.build(name, dataset, folder, columns=True)
                say(f"{name}: built in {built['seconds']:.1f} s")
                process = stack.enter_context(Process(name, dataset, folder / name, columns=True))
                process.call("open")
                opened[name] = process
            except ContenderError as error:
                left_out[name] = str(error)
                say(f"{name}: left out, {error}")
        for repeat in range(options.repeats):
            for name, process in opened.items():
                runs += measure(process, cases, repeat, options, left_out) if name not in left_out else []
            say(f"repeat {repeat + 1} of {options.repeats}: done")
    rows = summary(runs, cases)
    side_by_side.table([shown(row) for row in rows])
    side_by_side.table(multiples(rows))
    side_by_side.save(options, f"filtered-{dataset}", {"left out": left_out, "runs": runs})
    plots.filtered_recall(rows, dataset, options.out)


def measure(
    process: Process, cases: list[Case], repeat: int, options: argparse.Namespace, left_out: dict[str, str]
) -> list[dict[str, Any]]:
    """One contender, every case."""
    runs = []
    try:
        for k in DEPTHS[:1] if options.small else DEPTHS:
            knob = process.call("knobs", k=k)["usual"]
            for place, case in enumerate(cases):
                asked = {"knob": knob, "k": k, "threads": 1, "queries": options.queries, "case": place}
                figures = process.call("measure", seconds=options.seconds, **asked)
                about = {"name": process.name, "relation": case.relation, "share": case.share, "k": k}
                runs.append({**about, "repeat": repeat, "knob": knob, **figures})
    except ContenderError as error:
        left_out[process.name] = str(error)
        say(f"{process.name}: stopped, {error}")
    return runs


def summary(runs: list[dict[str, Any]], cases: list[Case]) -> list[dict[str, Any]]:
    """Repeats put together: a row for each contender, k and case."""
    share_of = {(c.relation, c.share): statistics.fmean(c.matches) for c in cases}
    grouped: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in runs:
        grouped.setdefault((run["k"], run["relation"], run["share"], run["name"]), []).append(run)
    return [
        {
            **{key: same[0][key] for key in ("name", "k", "relation", "share", "recall", "half")},
            "matches": share_of[relation, share],
            "qps": statistics.median(run["qps"] for run in same),
            "all qps": [run["qps"] for run in same],
            "p95 ms": statistics.median(run["p95 ms"] for run in same),
            "short": max(run["short"] for run in same),
            "wrong": max(run["wrong"] for run in same),
        }
        for (_, relation, share, _), same in sorted(grouped.items(), key=lambda item: _order(item[0]))
    ]


def _order(key: tuple[Any, ...]) -> tuple[Any, ...]:
    k, relation, share, _ = key
    return k, filters.RELATIONS.index(relation), -share


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the table."""
    return {
        "k": row["k"],
        "filter": f"{row['relation']} {row['share'] * 100:g} %",
        "matching rows": f"{row['matches']:.0f}",
        "contender": row["name"],
        "recall": f"{row['recall']:.4f} ± {row['half']:.4f}",
        "queries/s": spread(row["all qps"], digits=0),
        "p95 ms": f"{row['p95 ms']:.2f}",
        "short answers": row["short"],
        "wrong rows": row["wrong"],
    }


def multiples(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Quiver's queries per second over each peer's, by filter, for k = 10."""
    speeds = {(row["relation"], row["share"], row["name"]): row["qps"] for row in rows if row["k"] == 10}
    names = [name for name in dict.fromkeys(row["name"] for row in rows) if not name.startswith("quiver")]
    made = []
    for relation, share in dict.fromkeys((row["relation"], row["share"]) for row in rows):
        line = {"filter": f"{relation} {share * 100:g} %"}
        for name in names:
            ours = speeds.get((relation, share, "quiver-server" if name in contenders.SERVERS else "quiver"))
            theirs = speeds.get((relation, share, name))
            line[f"Quiver / {name}"] = f"{ours / theirs:.1f}" if ours and theirs else ""
        made.append(line)
    return made


def main() -> None:
    """Every data set in turn."""
    options = side_by_side.parse(side_by_side.arguments(__doc__, data=("debian", "mnist"), names=NAMES))
    for dataset in options.data:
        compare(dataset, options)


if __name__ == "__main__":
    main()
