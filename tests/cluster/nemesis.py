"""The nemesis, as a program: `python tests/cluster/nemesis.py --operations N --seconds S --seed K`.

In periods: servers start, clients work while the nemesis does what it can, then everything is killed, what is
still under way to the store arrives, and `quiver fsck` reads the root. The next servers must show what the clients
were told; the history of each index is judged.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from cluster.campaign import Campaign, Settings
from cluster.nemesis_actions import Pace
from simulation.checkers.history import Violation


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--operations", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--period", type=float, default=120, help="seconds between two moments of rest")
    parser.add_argument("--pause", type=float, default=60, help="seconds that a server stands still at most")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--directory", type=Path, help="kept when a violation is found; default: a temporary one")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leaves every context, so no server stays behind
    directory = given.directory or Path(tempfile.mkdtemp(prefix="quiver-nemesis-"))
    directory.mkdir(parents=True, exist_ok=True)
    pace = Pace(server=15, door=10, pause=given.pause)
    settings = Settings(given.operations, given.seconds, given.period, pace, given.seed)
    began, violation = time.monotonic(), ""
    with Campaign(directory, settings) as campaign:
        try:
            campaign.run()
        except Violation as error:
            violation = str(error)
        totals = campaign.totals + campaign.counts()
    for name, count in sorted(totals.items()):
        print(f"{count:>10,} {name}")
    print(
        f"{campaign.requests:,} operations in {campaign.periods} periods, {time.monotonic() - began:.0f} seconds,",
        end=" ",
    )
    print(f"seed {given.seed}, {int(bool(violation))} violations")
    if violation:
        print(f"VIOLATION, see {directory}: {violation}")
    elif given.directory is None:
        shutil.rmtree(directory)
    return 1 if violation else 0


if __name__ == "__main__":
    sys.exit(main())
