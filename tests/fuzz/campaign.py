"""A long run of one fuzz target: `python tests/fuzz/campaign.py TARGET --inputs N [--seed N] [--plain]`.

Inputs are made by libFuzzer under atheris, guided by coverage of Quiver's own code; with `--plain`, and where
atheris is not installed, by seeded mutations alone. Ends with a line that says how many inputs were tried and how
much memory the process had after a fifth of them and at the end; fails when an input makes the target fail, or
when memory grew by more than `--growth` MiB. The input that failed is kept beside the corpus.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

TARGETS = sorted(path.stem for path in (Path(__file__).parent / "targets").glob("[a-z]*.py"))
MIB = 1 << 20


def resident() -> int:
    """Bytes of memory this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Campaign:
    """Counts inputs and looks at memory; ends the process after the last one."""

    def __init__(self, run: Callable[[bytes], None], arguments: argparse.Namespace, folder: Path) -> None:
        self._name, self._inputs, self._growth = arguments.target, arguments.inputs, arguments.growth
        self._run, self._folder = run, folder
        self._done = 0
        self._early = 0
        self._started = time.monotonic()

    def __call__(self, data: bytes) -> None:
        """One input."""
        self._run(data)
        self._done += 1
        if self._done == self._inputs // 5:
            self._early = resident()
        if self._done == self._inputs:
            self._end()

    def _end(self) -> None:
        late, seconds = resident(), time.monotonic() - self._started
        grown = late - self._early
        print(
            f"{self._name}: {self._done} inputs in {seconds:.0f} s, "
            f"{self._early / MIB:.0f} MiB after a fifth, {late / MIB:.0f} MiB at the end",
            flush=True,
        )
        shutil.rmtree(self._folder)
        os._exit(0 if grown <= self._growth * MIB else 1)  # libFuzzer would go on


def plain(target: ModuleType, campaign: Campaign, seed: int, folder: Path) -> None:
    """Mutations of the seeds, until the campaign ends."""
    from fuzz.mutations import havoc

    chance = random.Random(seed)
    while True:
        data = havoc(target.SEEDS, chance)
        try:
            campaign(data)
        except BaseException:
            (folder / "failed").write_bytes(data)
            print(f"failed on {folder / 'failed'}", flush=True)
            raise


def guided(arguments: argparse.Namespace, folder: Path) -> None:
    """libFuzzer, until the campaign ends."""
    import atheris

    with atheris.instrument_imports(include=["quiver"]):
        target = importlib.import_module(f"fuzz.targets.{arguments.target}")
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, data in enumerate(target.SEEDS):
        (corpus / f"seed-{number}").write_bytes(data)
    options = [f"-seed={arguments.seed + 1}", "-max_len=16384", "-len_control=0", "-print_final_stats=1"]
    options += [f"-artifact_prefix={folder}/", "-timeout=60", "-rss_limit_mb=4096", "-verbosity=1"]
    campaign = Campaign(target.run, arguments, folder)
    atheris.Setup([sys.argv[0], *options, str(corpus)], campaign)
    atheris.Fuzz()


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--growth", type=int, default=100, help="MiB")
    parser.add_argument("--plain", action="store_true")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix=f"quiver-fuzz-{arguments.target}-"))
    if arguments.plain or importlib.util.find_spec("atheris") is None:
        target = importlib.import_module(f"fuzz.targets.{arguments.target}")
        campaign = Campaign(target.run, arguments, folder)
        plain(target, campaign, arguments.seed, folder)
    else:
        guided(arguments, folder)


if __name__ == "__main__":
    main()
