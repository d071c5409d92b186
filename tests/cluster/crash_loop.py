"""Kills a whole server again and again, and checks its promises: `python tests/cluster/crash_loop.py --cycles N`.

A cycle starts the server, checks everything clients were told before the last kill, lets clients write, and kills
every process of the server with SIGKILL: at a random moment, or when a worker or its maintenance process has died
at a named crash point.
Then `quiver fsck` reads the root as the kill left it. With `--encrypted` the root is, and now and then its key
file gets another current key.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Self

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from cluster import judge, loads, upkeep, workload
from cluster.crash_points import CRASH_POINTS
from cluster.lifecycle import Lifecycle
from cluster.loads import LoadingClients
from cluster.processes import Server
from cluster.requests import Client
from cluster.workload import EVERY_KEY, Clients, Read
from quiver.format import paths
from quiver.objectstore.encryption.key_file import KeyFile, read_key_file, write_key_file
from simulation.checkers.history import Violation

if TYPE_CHECKING:
    from collections.abc import Mapping

CLIENTS, LOADING_CLIENTS = 3, 2
LOAD_SECONDS = 1.2
POINT_SECONDS = 180
INLINE = 0.25
"""The part of all cycles in which workers do the upkeep themselves."""
RENEWED = 0.1
"""The part of all cycles before which an encrypted root gets another master key."""
LOW_THRESHOLDS = {"QUIVER_FLUSH_ROWS": "25", "QUIVER_GARBAGE_AGE_SECONDS": "1"}


class CrashLoop:
    """One root through many kills. `totals` counts what was done and checked.

    Args:
        directory: an empty directory for the root, the ledgers and the server's log.
        seed: of the workload and the moments of the kills; what the server makes of them differs by run.
        encrypted: whether the root is.
    """

    def __init__(self, directory: Path, seed: int = 0, *, encrypted: bool = False) -> None:
        self.root = directory / "root"
        self.totals: Counter[str] = Counter()
        self._directory = directory
        self._seed = seed
        self._chance = random.Random(seed)
        values = workload.unique_values()
        self._values = values
        self._lifecycle = Lifecycle(values, f"lifecycle {seed}")
        self._rest: Mapping[str, int] = {}
        self._period: Clients | None = None
        self._loaded_rest: Mapping[str, int] = {}
        self._loaded_periods: list[Clients] = []
        self._key_file = directory / "keys.json" if encrypted else None

    def __enter__(self) -> Self:
        self._renew_key()
        with self._start(workers=1) as server:
            client = Client([server.port])
            workload.create_index(client)
            workload.create_another(client, loads.NAMES)
            client.close()
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing runs between cycles."""

    def cycle(self, point: str = "") -> None:
        """Kill at a crash point, or else at a random moment. Raises Violation."""
        if self._chance.random() < RENEWED:
            self._renew_key()
        with self._start(workers=1 if point else self._chance.choice((1, 2)), point=point) as server:
            before = server.workers()  # already the reads may finish a deletion, and with it reach the point
            self.verify(server.port)
            with self._load(server.port):
                if point:
                    wait_for_death(server, before, point)
                else:
                    if self._chance.random() < 0.5:
                        self.totals["kills after maintenance began"] += wait_for_maintenance(server)
                    time.sleep(self._chance.uniform(0, LOAD_SECONDS))
                server.kill()
        self.totals["cycles"] += 1
        self.totals[f"kills at {point or 'a random moment'}"] += 1
        self.check_root()

    def finish(self, stops: int = 2) -> None:
        """Check the last cycle, stop gracefully under load so many times, and check that as well."""
        for _ in range(stops):
            with self._start(workers=2) as server:
                self.verify(server.port)
                with self._load(server.port):
                    time.sleep(LOAD_SECONDS)
                    assert server.stop() == 0, "the server did not stop gracefully"
            self.check_root()
        with self._start(workers=1) as server:
            self.verify(server.port)
        if self._key_file is not None:
            self._check_encryption()

    def _renew_key(self) -> None:
        """Make a key, which is the current one from now on, in an encrypted root."""
        if (file := self._key_file) is None:
            return
        key_id, secret = str(uuid.UUID(int=self._chance.getrandbits(128))), self._chance.randbytes(32)
        there = read_key_file(file) if file.exists() else None
        keys = there.with_key(key_id, secret, current=True) if there else KeyFile(key_id, {key_id: secret})
        write_key_file(file, keys, "draft", replace=there is not None)
        self.totals["keys of the root"] += 1

    def _check_encryption(self) -> None:
        """Nothing in the root is what it would be without encryption. Raises Violation."""
        segments = list(self.root.rglob(paths.ROWS))
        if not segments or any(file.read_bytes()[:4] == b"PAR1" for file in segments):
            raise Violation("the root is not encrypted")
        self.totals["encrypted segments"] += len(segments)

    def verify(self, port: int) -> None:
        """Read everything and judge the period that ended with the last kill."""
        client = Client([port])
        try:
            found = [
                workload.read_keys(client, EVERY_KEY),
                workload.read_all(client, "QueryVectors"),
                workload.read_all(client, "ListVectors"),
            ]
            reads = [read for read in found if read is not None]
            if len(reads) < len(found):
                raise Violation("the restarted server does not answer")
            self._judge(reads)
            # At a crash point the server may die while it finishes a deletion that the last kill cut short.
            self.totals["short-lived indexes checked"] += self._lifecycle.observe(client)
            self._verify_loads(client)
        finally:
            client.close()

    def _judge(self, reads: list[Read]) -> None:
        writes, earlier = [], []
        if self._period is not None:
            writes, earlier = self._period.writes, self._period.reads
        self.totals += judge.judge(self._rest, writes, earlier, reads)
        self.totals["values verified"] += sum(len(read.keys) for read in reads)
        self._rest, self._period = reads[0].values, None

    def _verify_loads(self, client: Client) -> None:
        """Judge the loads since the last time there was an answer, and what was written among them."""
        found = [loads.read_every(client), loads.read_some(client, loads.MANY[: loads.SAMPLE])]
        reads = [read for read in found if read is not None]
        if len(reads) < len(found):
            return
        writes = [write for period in self._loaded_periods for write in period.writes]
        earlier = [read for period in self._loaded_periods for read in period.reads]
        done = judge.judge(self._loaded_rest, writes, earlier, reads)
        self.totals += Counter({f"{name}, index of loads": count for name, count in done.items()})
        whole = [write for write in writes if loads.REST in write.items]
        self.totals += Counter(f"loads {write.outcome.value}" for write in whole)
        self.totals["loads verified"] += 1
        self._loaded_rest, self._loaded_periods = reads[0].values, []

    def check_root(self) -> None:
        """Raises Violation for anything that `quiver fsck` finds."""
        wrong = upkeep.findings(self.root, self._key_file or "")
        if wrong:
            raise Violation(f"fsck found {wrong}")
        self.totals["clean checks"] += 1

    def _start(self, *, workers: int, point: str = "") -> Server:
        changes = {"QUIVER_MAINTENANCE": "inline" if self._chance.random() < INLINE else "process"}
        if point:
            changes["QUIVER_CRASH_AT"] = point
        if self._key_file is not None:
            changes["QUIVER_ENCRYPTION_KEY_FILE"] = str(self._key_file)
        log = self._directory / "server.log"
        log.unlink(missing_ok=True)
        scratch = {"TMPDIR": str(self._directory)}
        return Server(self.root, workers=workers, log=log, **LOW_THRESHOLDS, **scratch, **changes)

    def _load(self, port: int) -> Load:
        self._period = Clients(
            [port], self._directory, CLIENTS, f"{self._seed}.{self.totals['cycles']}", self._values
        )
        loading = LoadingClients(
            [port], self._directory, LOADING_CLIENTS, f"loads {self._seed}.{self.totals['cycles']}", self._values
        )
        self._loaded_periods.append(loading)
        return Load([self._period, loading], self._lifecycle, port)


class Load:
    """The clients of a cycle, and the one of the short-lived index. Stopped when the context is left."""

    def __init__(self, clients: list[Clients], lifecycle: Lifecycle, port: int) -> None:
        self._clients = clients
        self._stopping = threading.Event()
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, args=(lifecycle, port))
        self._thread.start()

    def _run(self, lifecycle: Lifecycle, port: int) -> None:
        try:
            lifecycle.run(Client([port]), self._stopping)
        except BaseException as error:
            self._errors.append(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        for each in self._clients:
            each.stop()
        if self._errors:
            raise self._errors[0]


def wait_for_death(server: Server, before: set[int], point: str) -> None:
    """Until a worker of `before`, or a maintenance process, has died. Raises Violation when none does.

    None leaves by itself before `POINT_SECONDS` are over.
    """
    give_up = time.monotonic() + POINT_SECONDS
    maintainers: set[int] = set()
    while before <= server.workers() and maintainers <= (running := server.maintainers()):
        maintainers |= running
        if time.monotonic() > give_up:
            raise Violation(f"the crash point {point} is never reached")
        time.sleep(0.005)


def wait_for_maintenance(server: Server) -> bool:
    """Until there is a maintenance process; False when there is none soon."""
    give_up = time.monotonic() + 2 * LOAD_SECONDS
    while not server.maintainers():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.005)
    return True


def schedule(cycles: int, points: tuple[str, ...] = CRASH_POINTS) -> list[str]:
    """How each cycle ends: every crash point as early as possible, random moments ("") in between."""
    if cycles < len(points):
        raise ValueError(f"{len(points)} crash points need as many cycles")
    turns = itertools.chain.from_iterable(zip(points, [""] * len(points), strict=True))
    rest = itertools.cycle([*[""] * (2 * len(points)), *points])
    plan = list(itertools.islice(itertools.chain(turns, rest), cycles))
    return plan if cycles >= 2 * len(points) else [*points, *[""] * (cycles - len(points))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--encrypted", action="store_true", help="encrypt the root")
    parser.add_argument("--directory", type=Path, help="kept when a violation is found; default: a temporary one")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leaves every context, so no server stays behind
    directory = given.directory or Path(tempfile.mkdtemp(prefix="quiver-crash-"))
    directory.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    violation = ""
    with CrashLoop(directory, given.seed, encrypted=given.encrypted) as loop:
        try:
            for done, point in enumerate(schedule(given.cycles), 1):
                loop.cycle(point)
                if done % 50 == 0:
                    print(f"{done} cycles, {loop.totals['ok']} acknowledged writes", flush=True)
            loop.finish()
        except Violation as error:
            violation = str(error)
    for name, count in sorted(loop.totals.items()):
        print(f"{count:>10,} {name}")
    seconds = time.monotonic() - started
    print(f"seed {given.seed}, {seconds:.0f} seconds, {int(bool(violation))} violations")
    if violation:
        print(f"VIOLATION, see {directory}: {violation}")
    elif given.directory is None:
        shutil.rmtree(directory)
    return 1 if violation else 0


if __name__ == "__main__":
    sys.exit(main())
