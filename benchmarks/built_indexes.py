"""Indexes that are built once, and then served by the benchmarks' object store: a bucket for each data set.

They stay as they were built: remove the folder of a data set to measure what a newer Quiver writes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks import side_by_side
from benchmarks.common import REPOSITORY
from benchmarks.datasets import cache_folder
from benchmarks.side_by_side import say

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.object_store import ObjectStore

QUIVER, LANCE = "quiver", "lancedb-ivf-pq"
PREFIX = {QUIVER: "quiver/root", LANCE: "lancedb-ivf-pq"}
"""Where each of them is in the bucket."""


def store_folder() -> Path:
    """What the object store serves."""
    return cache_folder() / "store"


def build_all(dataset: str, names: Sequence[str] = (QUIVER,)) -> None:
    """Build them in the folder of the bucket, unless they are there. Raises ContenderError."""
    folder = store_folder() / dataset
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        built = side_by_side.build(name, dataset, folder)
        if "reused" not in built:
            say(f"{name}, {dataset}: built in {built['seconds']:.1f} s")


def put_opening(store: ObjectStore, dataset: str) -> None:
    """Have Quiver's index hold what a node that publishes through the store leaves for new ones."""
    command = [sys.executable, "-m", "quiver.cli.main", "compact", store.url(dataset, PREFIX[QUIVER])]
    variables = store.environment("opening") | {"PYTHONPATH": str(REPOSITORY / "src")}
    subprocess.run(command, env=os.environ | variables, check=True, stdout=subprocess.DEVNULL)


def directory(dataset: str) -> str:
    """The root of Quiver as a directory."""
    return str(store_folder() / dataset / PREFIX[QUIVER])
