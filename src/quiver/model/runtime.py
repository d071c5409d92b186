"""The only door to time, chance, task spawning and worker threads.

Everything above goes through a `Runtime`, so that the deterministic simulator can run the same code under
virtual time with a seeded source of chance. The lint rules in pyproject.toml ban every other door.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from quiver.model.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

P = ParamSpec("P")
T = TypeVar("T")

CRASH_AT = "QUIVER_CRASH_AT"
"""Environment variable of the crash tests: the process exits, as if killed, at the named point."""


class Runtime(ABC):
    """Time, chance, tasks and threads, as one node sees them."""

    @abstractmethod
    def time(self) -> float:
        """Wall clock, seconds since the epoch. For display and token expiry only, never for correctness."""

    @abstractmethod
    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Suspend the calling task."""

    @abstractmethod
    def random(self) -> float:
        """A number in [0, 1), for jitter."""

    @abstractmethod
    def new_id(self) -> str:
        """128 unpredictable bits as 32 hexadecimal digits."""

    @abstractmethod
    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Start a background task. The runtime keeps a reference until it ends."""

    @abstractmethod
    async def offload(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking or CPU-heavy work (longer than about a millisecond) off the event loop.

        The work is done in one thread; building calls `threads.every_core` first.
        """

    @abstractmethod
    def reach(self, point: str) -> None:
        """Mark a named crash point. Does nothing in normal operation; tests kill the node here."""


class SystemRuntime(Runtime):
    """The real machine: system clocks, the kernel's entropy, asyncio tasks and a thread pool."""

    def __init__(self, threads: int | None = None) -> None:
        self._pool = ThreadPoolExecutor(threads or min(8, (os.cpu_count() or 2) + 2), "quiver")
        self._tasks: set[asyncio.Task[Any]] = set()
        self._crash_at = os.environ.get(CRASH_AT, "")

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def random(self) -> float:
        return random.random()

    def new_id(self) -> str:
        return secrets.token_hex(16)

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def offload(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        def work() -> T:
            one_thread()
            return function(*args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def reach(self, point: str) -> None:
        if point == self._crash_at:
            os._exit(137)

    def close(self) -> None:
        """Release the worker threads; work already started runs to its end."""
        self._pool.shutdown(wait=True)
