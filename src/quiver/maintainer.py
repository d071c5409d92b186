"""The maintenance process: `python -m quiver.maintainer IDLE_SECONDS`, started by a process that serves a root.

Orders come on standard input, reports go to standard output; see quiver.maintenance.messages. The root is in the
environment, as for every process of Quiver. It leaves when standard input ends, whatever is under way (a job
that is cut short harms nothing), and after IDLE_SECONDS without work.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import traceback
from collections import OrderedDict
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from quiver.assemble import open_service
from quiver.engine.native.workshop import Job, OwnWorkshop
from quiver.maintenance.messages import Done, Failed, Order, Progress, Ready, decode_order, encode
from quiver.model.errors import QuiverError
from quiver.model.runtime import SystemRuntime
from quiver.settings import load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quiver.assemble import OpenRoot
    from quiver.maintenance.messages import Report

    Say = Callable[[Report], None]

NICENESS = 10
_LONGEST_MESSAGE = 500
PROGRESS_SECONDS = 0.2
"""How often a stage of a job tells how far it is."""


class Lane:
    """Orders that are carried out one after the other; those for one index that wait are carried out together."""

    def __init__(self, work: Callable[[list[Order]], Awaitable[None]]) -> None:
        self._work = work
        self._waiting: OrderedDict[str, list[Order]] = OrderedDict()
        self._arrived = asyncio.Event()
        self._working = False

    @property
    def idle(self) -> bool:
        """Whether nothing is under way or waits."""
        return not self._working and not self._waiting

    def add(self, order: Order) -> None:
        """Have it carried out when its turn comes."""
        self._waiting.setdefault(order.index_id, []).append(order)
        self._arrived.set()

    async def run(self) -> None:
        """Carry out orders for ever."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            self._working = True
            while self._waiting:
                _, orders = self._waiting.popitem(last=False)
                await self._work(orders)
            self._working = False


class Maintainer:
    """Carries out orders on the indexes of one root."""

    def __init__(self, root: OpenRoot, runtime: SystemRuntime, say: Say) -> None:
        self._engine = root.engine
        self._runtime = runtime
        self._say = say
        self._workshop = OwnWorkshop()
        self._last: dict[str, float] = {}

    async def carry_out(self, orders: list[Order]) -> None:
        """Do one job for everybody who ordered it, and report."""
        order = orders[0]
        try:
            index = await self._engine.open(order.index_id, order.spec)
            index.progress = partial(self._progress, orders)
            await self._workshop.do(order.job, index)
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent and the log are told
            message = error.message[:_LONGEST_MESSAGE] if isinstance(error, QuiverError) else ""
            _log(order, error, message)
            for each in orders:
                self._say(Failed(each.number, type(error).__name__, message))
        else:
            for each in orders:
                self._say(Done(each.number))

    def _progress(self, orders: list[Order], stage: str, done: int, total: int) -> None:
        now = self._runtime.monotonic()
        if done < total and now < self._last.get(stage, 0) + PROGRESS_SECONDS:
            return
        self._last[stage] = now
        for order in orders:
            self._say(Progress(order.number, stage, done, total))


def main() -> None:
    """Serve the parent until it is gone or has no more work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes standard input
    os.nice(NICENESS)
    reports = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing else gets in between the reports
    asyncio.run(_serve(float(sys.argv[1]), partial(_write, reports)))


async def _serve(idle_seconds: float, say: Say) -> None:
    runtime = SystemRuntime()
    settings = replace(load(os.environ), cache_folder="")  # what upkeep reads is not what queries will
    root = await open_service(settings, runtime, background=False)
    maintainer = Maintainer(root, runtime, say)
    lanes = {job: Lane(maintainer.carry_out) for job in Job}
    for job, lane in lanes.items():
        runtime.spawn(lane.run(), job)
    orders = await _standard_input()
    say(Ready())
    while True:
        try:
            line = await asyncio.wait_for(orders.readline(), idle_seconds)
        except TimeoutError:
            if all(lane.idle for lane in lanes.values()):
                break
            continue
        if not line:
            break
        order = decode_order(line)
        lanes[order.job].add(order)
    os._exit(0)  # threads may be at work on what nobody waits for any more


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def _write(descriptor: int, report: Report) -> None:
    """One line, from any thread: a pipe takes up to 4096 bytes in one piece."""
    try:
        os.write(descriptor, encode(report))
    except BrokenPipeError:
        os._exit(0)  # the parent is gone


def _log(order: Order, error: Exception, message: str) -> None:
    frames = traceback.extract_tb(error.__traceback__)[-12:]
    line = {
        "level": "error",
        "event": f"{order.job} failed",
        "index": order.index_id,
        "error": type(error).__name__,
        "message": message,
        "frames": [] if message else [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    sys.stderr.write(json.dumps(line) + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
