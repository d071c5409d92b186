"""The plots of the comparisons, as SVG; needs matplotlib, and draws nothing without it."""

from __future__ import annotations

import statistics
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from benchmarks.figures import Point, best

if TYPE_CHECKING:
    from pathlib import Path

COLOURS = {
    "quiver": "#c1121f",
    "quiver-kdtree-lsh": "#f28482",
    "quiver-server": "#e07a5f",
    "faiss-flat": "#8d99ae",
    "faiss-rabitq": "#2b2d42",
    "hnswlib": "#2a9d8f",
    "lancedb-ivf-pq": "#457b9d",
    "lancedb-hnsw-sq": "#1d3557",
    "chroma": "#f4a261",
    "chroma-server": "#b5651d",
    "zvec": "#6a4c93",
    "milvus-lite": "#bc5090",
}


def recall_against_speed(runs: list[dict[str, Any]], dataset: str, folder: Path) -> None:
    """`recall_qps-DATASET.svg`: every contender's best points, a panel for each number of threads or processes."""
    modes = list(dict.fromkeys(run["mode"] for run in runs))
    figure, axes = _figure(len(modes))
    for panel, mode in zip(axes, modes, strict=True):
        for name in dict.fromkeys(run["name"] for run in runs):
            points = best(_medians([r for r in runs if r["name"] == name and r["mode"] == mode]))
            _line(panel, name, [p.recall for p in points], [p.qps for p in points])
        panel.set_xlim(0.8, 1.003)
        panel.set(title=f"{dataset}, {mode}", xlabel="recall@10", yscale="log")
        panel.set_ylabel("queries per second")
    _save(figure, axes, folder / f"recall_qps-{dataset}.svg")


def filtered_recall(rows: list[dict[str, Any]], dataset: str, folder: Path) -> None:
    """`filtered-DATASET.svg`: recall@10 above, speed below, by selectivity, a panel for each relation."""
    relations = list(dict.fromkeys(row["relation"] for row in rows))
    for what, scale in (("recall", "linear"), ("qps", "log")):
        figure, axes = _figure(len(relations))
        for panel, relation in zip(axes, relations, strict=True):
            for name in dict.fromkeys(row["name"] for row in rows):
                mine = [r for r in rows if (r["name"], r["relation"], r["k"]) == (name, relation, 10)]
                _line(panel, name, [r["share"] * 100 for r in mine], [r[what] for r in mine])
            panel.set(title=f"{dataset}, {relation}", xlabel="% of rows let through", xscale="log", yscale=scale)
            panel.set_ylabel("recall@10" if what == "recall" else "queries per second")
        _save(figure, axes, folder / f"filtered-{what}-{dataset}.svg")


def growth(sizes: list[int], series: dict[str, list[float]], path: Path) -> None:
    """Milliseconds or seconds by the number of rows."""
    figure, axes = _figure(1)
    for label, values in series.items():
        axes[0].plot(sizes, values, marker="o", label=label)
    axes[0].set(title="growth", xlabel="rows", xscale="log", yscale="log")
    _save(figure, axes, path)


def life(timeline: list[tuple[float, float]], stages: list[tuple[float, str]], dataset: str, folder: Path) -> None:
    """`life-DATASET.svg`: the latency of every query by the time it was asked, with what happened meanwhile."""
    figure, axes = _figure(1)
    axes[0].plot(
        [at for at, _ in timeline], [ms for _, ms in timeline], ".", markersize=2, color=COLOURS["quiver"]
    )
    for at, name in stages:
        axes[0].axvline(at, color="#8d99ae", linewidth=0.8)
        axes[0].text(at, 1.01, name, rotation=30, fontsize=7, transform=axes[0].get_xaxis_transform())
    axes[0].set(xlabel="seconds", ylabel="milliseconds a query", yscale="log")
    _save(figure, axes, folder / f"life-{dataset}.svg")


def cold_queries(results: dict[str, Any], dataset: str, folder: Path) -> None:
    """`cold_query-DATASET.svg`: the part of the first queries answered within a time, a panel for each stage."""
    figure, axes = _figure(len(results))
    for panel, (stage, runs) in zip(axes, results.items(), strict=True):
        for name, mine in runs.items():
            times = sorted(run["query"]["ms"] for run in mine)
            parts = [(place + 1) / len(times) for place in range(len(times))]
            style = "--" if " " in name else "-"
            panel.step(times, parts, style, where="post", color=COLOURS.get(name.partition(" ")[0]), label=name)
        panel.set(title=f"{dataset}, {stage}", xlabel="milliseconds", ylabel="part of the queries", xscale="log")
    _save(figure, axes, folder / f"cold_query-{dataset}.svg")


def read_scaling(series: dict[str, dict[int, float]], dataset: str, folder: Path) -> None:
    """`read_scaling-DATASET.svg`: queries per second by the number of readers."""
    figure, axes = _figure(1)
    for label, values in series.items():
        axes[0].plot(list(values), list(values.values()), marker="o", label=label)
    axes[0].set(title=dataset, xlabel="reader processes", ylabel="queries per second", ylim=(0, None))
    _save(figure, axes, folder / f"read_scaling-{dataset}.svg")


def _medians(runs: list[dict[str, Any]]) -> list[Point]:
    grouped: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        grouped.setdefault(str(run["knob"]), []).append(run)
    return [Point(same[0]["recall"], statistics.median(r["qps"] for r in same)) for same in grouped.values()]


def _line(panel: Any, name: str, across: list[float], up: list[float]) -> None:
    wide = 2.2 if name.startswith("quiver") else 1.2
    panel.plot(across, up, marker="o", markersize=3, linewidth=wide, color=COLOURS.get(name), label=name)


class _Nothing:
    """Stands in for a figure and its panels where matplotlib is missing: every call does nothing."""

    def __getattr__(self, _: str) -> Any:
        return lambda *_, **__: None


def _figure(panels: int) -> tuple[Any, list[Any]]:
    if find_spec("matplotlib") is None:
        return None, [_Nothing()] * panels
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "quiver"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, panels, figsize=(5.5 * panels, 4.2), squeeze=False, layout="constrained")
    return figure, list(axes[0])


def _save(figure: Any, axes: list[Any], path: Path) -> None:
    if figure is None:
        return
    for panel in axes:
        panel.grid(visible=True, which="both", linewidth=0.3)
    if axes[0].get_legend_handles_labels()[0]:
        axes[-1].legend(fontsize=7)
    figure.savefig(path, metadata={"Date": None})
    print(f"  wrote {path}", flush=True)
