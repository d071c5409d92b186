"""A workshop in a process of its own, so that queries keep this one's interpreter and caches to themselves."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from quiver.engine.native.workshop import OwnWorkshop, Workshop
from quiver.maintenance.child import Child, ChildLeftError
from quiver.model.errors import UnavailableError
from quiver.settings import local_directory, to_environment

if TYPE_CHECKING:
    from quiver.engine.native.index import NativeIndex
    from quiver.engine.native.workshop import Job
    from quiver.model.runtime import Runtime
    from quiver.settings import Settings

IDLE_SECONDS = 60.0
CLOSE_SECONDS = 30.0
_THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}
"""Building has threads of its own, and in product quantisation those of OpenMP. If these waited for each other
actively they would take the cores from queries: beside two busy processes on two cores, a flush took half the time
with these."""


class MaintenanceProcess(Workshop):
    """Starts `python -m quiver.maintainer` for the first job, and again whenever there is none.

    It leaves by itself when it had nothing to do for a while, and at once when this process is gone. Where no
    such process can be started, the jobs are done here.

    Args:
        settings: of the root.
        runtime: of this process.
        idle_seconds: how long it stays without work.
        close_seconds: how long `close` waits for jobs under way.
    """

    def __init__(
        self,
        settings: Settings,
        runtime: Runtime,
        *,
        idle_seconds: float = IDLE_SECONDS,
        close_seconds: float = CLOSE_SECONDS,
    ) -> None:
        # Absolute, for this process may change its working directory before it starts another.
        directory = local_directory(settings.root)
        self._settings = settings if directory is None else replace(settings, root=str(directory))
        self._runtime = runtime
        self._idle_seconds = idle_seconds
        self._close_seconds = close_seconds
        self._own = OwnWorkshop()
        self._starting = asyncio.Lock()
        self._child: Child | None = None
        self._under_way: set[asyncio.Future[None]] = set()
        self._closing = False

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._child.pid if self._child is not None and self._child.alive else None

    async def do(self, job: Job, index: NativeIndex) -> None:
        ended = asyncio.get_running_loop().create_future()
        self._under_way.add(ended)
        try:
            await self._do(job, index)
        finally:
            self._under_way.discard(ended)
            ended.set_result(None)
        await index.log.refresh()  # so that its tail is short again before the next read looks

    async def _do(self, job: Job, index: NativeIndex) -> None:
        while not self._closing:
            child = await self._running_child()
            if child is None:
                await self._own.do(job, index)
                return
            try:
                await child.do(job, index)
            except ChildLeftError:
                continue  # it was idle, and left before the order reached it
            else:
                return
        raise UnavailableError("maintenance is closing")

    async def _running_child(self) -> Child | None:
        """The child; None when it cannot be started, or does not get as far as to open the root."""
        async with self._starting:
            if self._child is None or not self._child.alive:
                self._child = await start(self._command(), self._environment(), self._runtime)
            return self._child

    def _command(self) -> list[str]:
        # -P: nothing is imported from the working directory
        return [sys.executable, "-P", "-m", "quiver.maintainer", str(self._idle_seconds)]

    def _environment(self) -> dict[str, str]:
        settings = replace(self._settings, access_key_id="", secret_access_key="")
        path = os.pathsep.join(entry for entry in sys.path if entry)
        return _THREADS | os.environ | to_environment(settings) | {"PYTHONPATH": path}

    async def close(self) -> None:
        self._closing = True
        try:
            if self._under_way:
                await asyncio.wait(self._under_way.copy(), timeout=self._close_seconds)
        finally:
            if self._child is not None:
                await self._child.close()


async def start(command: list[str], environment: dict[str, str], runtime: Runtime) -> Child | None:
    """A child that is ready; None when there is none to be had."""
    if not sys.executable or getattr(sys, "frozen", False):  # this is no Python that could run a module
        return None
    try:
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
    except OSError:
        return None
    child = Child(process, runtime)
    return child if await child.ready() else None
