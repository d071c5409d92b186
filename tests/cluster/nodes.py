"""The servers of the nemesis: each has a role, a door to the store and a clock of its own, and is restarted."""

from __future__ import annotations

import mmap
import os
import signal
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cli.running import SOURCE
from cluster.processes import Server

if TYPE_CHECKING:
    import random

    from cluster.processes import Doors

CLOCKS = Path(__file__).with_name("shifted_clock")
FULL_RATE = {"QUIVER_FLUSH_ROWS": "300", "QUIVER_GARBAGE_AGE_SECONDS": "1", "QUIVER_PATROL_SECONDS": "1"}
"""So that an index is flushed, merged and collected all the time."""
INLINE = 0.4
"""The part of starts after which workers do the upkeep themselves."""
MOST_SHIFT = 12 * 3600
START_ATTEMPTS = 5


class Clock:
    """How far a server's wall clock is off, in a file that its processes map. `shifts` counts the changes."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(8))
        self.path = path
        self.shifts = 0
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8)

    def now(self) -> float:
        """The server's wall clock."""
        return time.time() + struct.unpack("<d", self._map[:])[0]

    def shift(self, seconds: float) -> None:
        """Set it off by so much. Counted before and after: whoever looks in between sees a change too."""
        self.shifts += 1
        self._map[:] = struct.pack("<d", seconds)
        self.shifts += 1


class Node:
    """One server, running or not. `port` is 0 while it does not listen.

    Args:
        number: of its door, from 1 on.
        directory: where its log, its temporary files and its clock are.
    """

    def __init__(self, number: int, doors: Doors, root: str, directory: Path, chance: random.Random) -> None:
        self.number = number
        self.role = "all"
        self.port = 0
        self.clock = Clock(directory / f"clock-{number}")
        self._doors = doors
        self._root = root
        self._directory = directory
        self._chance = chance
        self._server: Server | None = None
        self._lock = threading.Lock()
        self._closed = False

    @property
    def running(self) -> bool:
        """Whether it was started, and neither killed nor stopped."""
        return self._server is not None

    @property
    def writes(self) -> bool:
        """Whether it takes writes."""
        return self.role in ("all", "writer")

    @property
    def reads(self) -> bool:
        """Whether it answers at all."""
        return self.role != "maintainer"

    def start(self, role: str | None = None) -> None:
        """Start it and wait until it is ready, again and again: the store may fail it. Raises AssertionError."""
        self.role = role or self.role
        self.shift_clock()
        attempts = 0
        while self._server is None and not self._closed:
            try:
                server = self._run()
            except AssertionError:
                attempts += 1
                if attempts == START_ATTEMPTS:
                    raise
                time.sleep(0.2)
            else:
                self._started(server)

    def _started(self, server: Server) -> None:
        with self._lock:
            if self._closed:
                server.kill()
            else:
                self._server, self.port = server, server.port

    def close(self) -> None:
        """Kill it; a start that is under way comes to nothing."""
        with self._lock:
            self._closed = True
        self.kill()

    def _run(self) -> Server:
        own = {
            "QUIVER_ROLE": self.role,
            "QUIVER_MAINTENANCE": "inline" if self._chance.random() < INLINE else "process",
            "TMPDIR": str(self._directory),
            "PYTHONPATH": f"{CLOCKS}{os.pathsep}{SOURCE}",
            "NEMESIS_CLOCK": str(self.clock.path),
        }
        log = self._directory / f"server-{self.number}.log"
        return Server(self._root, log=log, **FULL_RATE, **self._doors.variables(self.number), **own)

    def kill(self) -> None:
        """SIGKILL to all its processes, stopped ones as well."""
        self.port = 0
        if self._server is not None:
            self._server.kill()
            self._server = None

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.port = 0
        server, self._server = self._server, None
        return server.stop() if server else 0

    def pause(self) -> None:
        """SIGSTOP to all its processes."""
        self._signal(signal.SIGSTOP)

    def proceed(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._server is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._server.process.pid, number)

    def kill_maintainers(self) -> int:
        """SIGKILL to maintenance processes alone; how many there were."""
        found = self._server.maintainers() if self._server else set()
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)

    def shift_clock(self) -> None:
        """Set its clock off by up to half a day, either way."""
        self.clock.shift(self._chance.uniform(-MOST_SHIFT, MOST_SHIFT))
