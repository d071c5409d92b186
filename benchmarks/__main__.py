"""`python -m benchmarks [NAME ...] [options]`: runs the named benchmarks, or all, each in a process of its own.

One BLAS thread each, servers included. Options go to each of them. The comparisons with other systems (recall_qps,
filtered, build_time, ingest, footprint, life, growth, text_qps, text_relevance) and those over an object store
(cold_query, warm_tiers, read_scaling) run only when named, with the interpreter of `make peers`: they take hours.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

from benchmarks.common import REPOSITORY, data_folder

ALL = ("main_job", "put_vectors", "small_operations", "exact_query", "large_bodies", "many_indexes")
NEEDS_DATA = {"main_job"}


def main() -> None:
    """Run them in order; exits with 1 when one failed."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY / "src")}
    arguments = sys.argv[1:]
    names = list(itertools.takewhile(lambda argument: not argument.startswith("-"), arguments))
    options = arguments[len(names) :]
    failed = []
    for name in names or ALL:
        print(f"\n== {name}", flush=True)
        if name in NEEDS_DATA and data_folder("debian") is None:
            print("left out: its data are not here (QUIVER_BENCH_DATA)")
            continue
        command = [sys.executable, "-m", f"benchmarks.{name}", *options]
        if subprocess.run(command, env=environment, cwd=REPOSITORY, check=False).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
