"""Runs pytest in the environment of other people's clients, against a server, and tells what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree

from api.workbench import REGION
from cli.running import KEYS, environment

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
SUITES = Path(__file__).with_name("suites")
NODE = Path(__file__).with_name("node")
VENV = Path(os.environ.get("QUIVER_CLIENTS_VENV") or ROOT / ".venv-clients")
"""Made by `make clients` from requirements/clients.txt; `sources` in it holds source distributions with tests."""
SECONDS = 600


class Outcome(NamedTuple):
    """What a run of pytest came to: names of tests by what they did, and everything it printed."""

    passed: frozenset[str]
    failed: frozenset[str]
    skipped: frozenset[str]
    output: str


def client_environment(url: str, home: Path, neighbours: dict[str, str]) -> dict[str, str]:
    """What an application would set to use Quiver instead of AWS, in a home of its own."""
    home.mkdir(exist_ok=True)
    kept = environment(
        AWS_ENDPOINT_URL_S3VECTORS=url,
        AWS_ACCESS_KEY_ID=KEYS["QUIVER_ACCESS_KEY_ID"],
        AWS_SECRET_ACCESS_KEY=KEYS["QUIVER_SECRET_ACCESS_KEY"],
        AWS_REGION=REGION,
        AWS_DEFAULT_REGION=REGION,
        AWS_EC2_METADATA_DISABLED="true",
        HOME=str(home),
        MEM0_TELEMETRY="False",
        PYTHONDONTWRITEBYTECODE="1",
        **neighbours,
    )
    del kept["PYTHONPATH"]  # Quiver is not among their packages
    return kept


def run_suite(arguments: Sequence[str], directory: Path, variables: dict[str, str], report: Path) -> Outcome:
    """`pytest *arguments` in a directory, with the clients' Python.

    Raises: AssertionError when it could not even collect.
    """
    command = [str(VENV / "bin" / "python"), "-m", "pytest", "-q", f"--junitxml={report}", *arguments]
    return _run(command, directory, variables, report)


def run_node(directory: Path, variables: dict[str, str], report: Path) -> Outcome:
    """The tests of node's own runner in a directory."""
    reporters = ["--test-reporter=junit", f"--test-reporter-destination={report}"]
    return _run(
        ["node", "--test", *reporters, "--test-reporter=spec", "--test-reporter-destination=stdout"],
        directory,
        variables,
        report,
    )


def _run(command: Sequence[str], directory: Path, variables: dict[str, str], report: Path) -> Outcome:
    done = subprocess.run(
        command, cwd=directory, env=variables, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    output = done.stdout + done.stderr
    assert done.returncode in (0, 1), output
    names: dict[str, set[str]] = {"passed": set(), "failed": set(), "skipped": set()}
    for case in ElementTree.parse(report).iter("testcase"):
        marks = {child.tag for child in case}
        kind = "failed" if marks & {"failure", "error"} else "skipped" if "skipped" in marks else "passed"
        names[kind].add(f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}")
    return Outcome(*(frozenset(names[kind]) for kind in ("passed", "failed", "skipped")), output)


def source_distribution(package: str, target: Path) -> Path:
    """The unpacked source distribution of a package that `make clients` downloaded."""
    (archive,) = (VENV / "sources").glob(f"{package}-*.tar.gz")
    with tarfile.open(archive) as packed:
        if hasattr(
            tarfile, "data_filter"
        ):  # Python before 3.11.4 has none; the archive has the hash that was locked
            packed.extraction_filter = tarfile.data_filter
        packed.extractall(target)
    (unpacked,) = target.glob(f"{package}-*")
    return unpacked


def requests_in(log: Path, start: int = 0) -> Counter[tuple[str, int]]:
    """Requests of a server's log from a byte on, by operation and status."""
    with log.open("rb") as file:
        file.seek(start)
        lines = [json.loads(line) for line in file if line.startswith(b'{"request_id"')]
    return Counter((line["operation"], line["status"]) for line in lines if line.get("event") == "request")
