"""What the comparisons share: contenders in processes of their own, the command line, tables and result files."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from benchmarks import contenders
from benchmarks.common import REPOSITORY, describe_machine, scratch
from benchmarks.datasets import cache_folder, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.datasets import Dataset

Knobs: TypeAlias = "list[dict[str, Any]]"

SMALL_DATA = "debian-4000"
PACKAGES = (
    "numpy",
    "pyarrow",
    "faiss-cpu",
    "granian",
    "boto3",
    "lancedb",
    "chromadb",
    "hnswlib",
    "zvec",
    "milvus-lite",
    "pymilvus",
)
BUILD_SECONDS = 4 * 3600
READ_BYTES = 8 << 20
TAKEN_BYTES = 2 << 30


class ContenderError(Exception):
    """A contender failed; the message is its own."""


class Process:
    """A contender's process. A context manager."""

    module = "benchmarks.contender_process"

    def __init__(
        self,
        name: str,
        dataset: str,
        folder: Path,
        *,
        columns: bool = False,
        variables: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self._pids: list[int] = []
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._log = folder.parent / f"{name}.log"
        arguments = [name, dataset, str(folder), *(["columns"] if columns else [])]
        environment = (
            os.environ
            | (variables or {})
            | {
                "OPENBLAS_NUM_THREADS": "1",
                "PYTHONPATH": str(REPOSITORY / "src"),
                "RUST_LOG": "error",
                "TOKENIZERS_PARALLELISM": "false",
            }
        )
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                cwd=REPOSITORY,
            )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        """End the process, and what it started should it not do so itself."""
        if self._process.poll() is None:
            self._process.stdin.close()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._kill()
        self._process.stdout.close()

    def _kill(self) -> None:
        for pid in {*self._pids, self._process.pid}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def call(self, do: str, timeout: float = 600, **arguments: Any) -> Any:
        """One command. Raises: ContenderError when it failed, ended or took longer than `timeout` seconds."""
        self.ask(do, **arguments)
        return self.answer(do, timeout)

    def ask(self, do: str, **arguments: Any) -> None:
        """Send a command; its `answer` must be taken before the next. Raises: ContenderError."""
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ContenderError(self._ended(do)) from None

    def answer(self, do: str, timeout: float = 600) -> Any:
        """What the last command answered. Raises: ContenderError."""
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._process.stdout, selectors.EVENT_READ)
            if not waiting.select(timeout):
                self._kill()
                raise ContenderError(f"{do} took longer than {timeout:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise ContenderError(self._ended(do))
        answer = json.loads(line)
        if "error" in answer:
            raise ContenderError(answer["error"])
        if do == "open":
            self._pids = answer["ok"]["pids"]
        return answer["ok"]

    def _ended(self, do: str) -> str:
        status = self._process.wait(30)
        last = self._log.read_text(errors="replace").strip().splitlines()[-1:]
        return f"{do}: the process ended with {status}: {' '.join(last)}"


def arguments(description: str, *, data: Sequence[str], names: Sequence[str]) -> argparse.ArgumentParser:
    """The options that all comparisons have."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--small", action="store_true", help=f"a smoke check on {SMALL_DATA}: no figures to quote")
    parser.add_argument("--data", nargs="+", default=list(data), help="data sets: %(default)s")
    parser.add_argument(
        "--contenders", nargs="+", default=list(names), choices=contenders.CONTENDERS, metavar="NAME"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=5, help="at most, for one setting of one contender")
    parser.add_argument(
        "--reuse", action="store_true", help="keep built indexes in the cache, and use those there"
    )
    parser.add_argument("--out", type=Path, default=None, help="where results go; docs/plots, unless --small")
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options, made small where asked for, with `out` made; prints the machine."""
    options = parser.parse_args()
    if options.small:
        options.data, options.repeats = [SMALL_DATA], 1
        options.queries, options.seconds = min(30, options.queries), 0.5
    options.out = options.out or (cache_folder() / "results" if options.small else REPOSITORY / "docs" / "plots")
    options.out.mkdir(parents=True, exist_ok=True)
    print(describe_machine(PACKAGES), flush=True)
    return options


def available(names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The contenders that can run here, and why the others cannot."""
    reasons = {name: reason for name in names if (reason := contenders.missing(name))}
    for name, reason in reasons.items():
        say(f"{name}: left out, {reason}")
    return [name for name in names if name not in reasons], reasons


@contextlib.contextmanager
def index_folder(dataset: str, *, reuse: bool, columns: bool = False) -> Iterator[Path]:
    """Where the indexes of a data set are built: in the cache, or in a temporary folder."""
    title = dataset + ("-columns" if columns else "")
    if reuse:
        folder = cache_folder() / "indexes" / title
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    temporary = Path(tempfile.mkdtemp(prefix="quiver-bench-", dir=scratch()))
    try:
        yield temporary / title
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def build(
    name: str, dataset: str, folder: Path, *, columns: bool = False, curve: Callable[[Knobs], Knobs] | None = None
) -> dict[str, Any]:
    """Build one contender's index, unless it was before; its figures.

    Args:
        curve: picks those of its settings at k = 10 that will be used; what they need is made too. None for none.

    Raises: ContenderError.
    """
    note = folder / f"{name}.built.json"
    if note.exists():
        return json.loads(note.read_text()) | {"reused": True}
    with Process(name, dataset, folder / name, columns=columns) as process:
        level(load(dataset))
        built = process.call("build", BUILD_SECONDS)
        if curve is not None:
            process.call("prepare", BUILD_SECONDS, knobs=curve(process.call("knobs", k=10)["curve"]))
    note.write_text(json.dumps(built))
    return built


def level(data: Dataset) -> None:
    """Begin as every contender does: nothing of what ran before is left to be written, memory is at hand, and the
    rows are cached.

    A virtual machine may give free memory back to its host, and its first use afterwards takes up to 2 ms a MiB:
    the time of a build would be a matter of what ran before it, and how long ago.
    """
    os.sync()
    with (data.folder / "rows.npy").open("rb") as rows:
        while rows.read(READ_BYTES):
            pass
    subprocess.run([sys.executable, "-c", f"bytes([1]) * {TAKEN_BYTES}"], check=True)


def describe(dataset: str) -> dict[str, Any]:
    """The data set's figures for the report; makes it when it is missing."""
    from benchmarks.datasets import describe as measured

    return measured(load(dataset))


def settings(name: str) -> str:
    """What a contender was set to."""
    return contenders.find(name).settings


def save(options: argparse.Namespace, title: str, result: dict[str, Any]) -> None:
    """Write a result beside the plots."""
    path = options.out / f"{title}.json"
    path.write_text(json.dumps({"machine": describe_machine(PACKAGES), **result}, indent=1) + "\n")
    say(f"wrote {path}")


def table(rows: list[dict[str, Any]]) -> None:
    """Print rows as a Markdown table."""
    if not rows:
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    print("\n| " + " | ".join(names) + " |\n|" + "---|" * len(names))
    for row in rows:
        print("| " + " | ".join(str(row.get(name, "")) for name in names) + " |")
    print(flush=True)


def say(text: str) -> None:
    """Progress, at once."""
    print(f"  {text}", flush=True)


def title(knob: dict[str, Any]) -> str:
    """A setting in a few characters."""
    return " ".join(f"{name}={value}" for name, value in knob.items())
