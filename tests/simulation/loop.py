"""An asyncio event loop in virtual time: no selector, no system calls, one order of events for one program.

Real asyncio primitives (tasks, futures, locks, `asyncio.timeout`, `gather`) run on it unchanged. When nothing
is ready, time jumps to the next timer. Every callback belongs to the `Process` found in its context, or to
none: a paused process's callbacks wait, a dead process's callbacks never run, which is what SIGSTOP and
SIGKILL do.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
from asyncio import events
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context

T = TypeVar("T")

LEAST_TASKS_BEFORE_PRUNING = 512


class DeadlockError(AssertionError):
    """Nothing is ready, no timer is set, and the awaited result is not there."""


class ProcessKilled(BaseException):
    """Raised where a process kills itself, so that the running callback goes no further."""


class Process:
    """A set of callbacks that live, stop and die together."""

    __slots__ = ("alive", "held", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.held: list[Handle] | None = None

    @property
    def stopped(self) -> bool:
        return self.held is not None or not self.alive


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class Handle:
    """A scheduled callback, as asyncio expects it back from `call_soon` and `call_at`."""

    __slots__ = ("args", "callback", "context", "time")

    def __init__(self, time: float, callback: Callable[..., Any], args: tuple[Any, ...], context: Context) -> None:
        self.time = time
        self.callback: Callable[..., Any] | None = callback
        self.args = args
        self.context = context

    def cancel(self) -> None:
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        return self.callback is None

    def when(self) -> float:
        return self.time


class VirtualLoop(asyncio.AbstractEventLoop):
    """First in, first out; timers of one moment run in the order they were set."""

    def __init__(self) -> None:
        self._now = 0.0
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._sequence = 0
        self._closed = False
        self._running = False
        self._tasks: list[asyncio.Task[Any]] = []
        self._prune_at = LEAST_TASKS_BEFORE_PRUNING
        self.callbacks = 0
        self.unhandled: list[dict[str, Any]] = []

    # -- time and callbacks

    def time(self) -> float:
        return self._now

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:
        handle = Handle(self._now, callback, args, contextvars.copy_context() if context is None else context)
        if not self._closed:
            self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        handle = Handle(when, callback, args, contextvars.copy_context() if context is None else context)
        if not self._closed:
            self._sequence += 1
            heapq.heappush(self._timers, (when, self._sequence, handle))
        return handle

    # -- futures and tasks

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks.append(task)  # a strong reference: a dead process's tasks must not be collected mid-run
        if len(self._tasks) > self._prune_at:
            self._tasks = [each for each in self._tasks if not each.done()]
            self._prune_at = max(LEAST_TASKS_BEFORE_PRUNING, 2 * len(self._tasks))
        return task

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        raise RuntimeError("threads have no place in a simulation: use Runtime.offload")

    # -- running

    def run_until_complete(self, future: Coroutine[Any, Any, T] | asyncio.Future[T]) -> T:
        """Run until `future` is done. Raises DeadlockError when it never can be."""
        awaited = asyncio.ensure_future(future, loop=self)
        previous = events._get_running_loop()
        events._set_running_loop(None)
        events._set_running_loop(self)
        self._running = True
        try:
            while not awaited.done():
                self._step()
        finally:
            self._running = False
            events._set_running_loop(previous)
        return awaited.result()

    def _step(self) -> None:
        ready = self._ready
        if not ready:
            self._advance()
        callbacks = 0
        while ready:
            handle = ready.popleft()
            callback = handle.callback
            if callback is None:
                continue
            process = handle.context.get(PROCESS)
            if process is not None and process.stopped:
                if process.held is not None and process.alive:
                    process.held.append(handle)
                continue
            callbacks += 1
            try:
                handle.context.run(callback, *handle.args)
            except (Exception, ProcessKilled) as error:
                self.call_exception_handler({"message": f"callback {callback!r} failed", "exception": error})
        self.callbacks += callbacks

    def _advance(self) -> None:
        timers = self._timers
        while timers and timers[0][2].callback is None:
            heapq.heappop(timers)
        if not timers:
            raise DeadlockError(f"nothing left to run at {self._now:.3f} s")
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            handle = heapq.heappop(timers)[2]
            if handle.callback is not None:
                self._ready.append(handle)

    # -- processes

    def stop_process(self, process: Process) -> None:
        """SIGSTOP: what becomes ready from now on waits for `continue_process`."""
        if process.alive and process.held is None:
            process.held = []

    def continue_process(self, process: Process) -> None:
        """SIGCONT."""
        held, process.held = process.held, None
        if process.alive and held:
            self._ready.extend(held)

    def kill_process(self, process: Process) -> None:
        """SIGKILL: none of its callbacks runs again, so no `finally` does either."""
        process.alive = False
        process.held = None

    # -- the rest of what asyncio asks of a loop

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        return

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.unhandled.append(context)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.unhandled.append(context)

    def unhandled_exceptions(self) -> list[BaseException]:
        """Exceptions of callbacks, and of finished tasks whose outcome nobody has asked for."""
        found = [each["exception"] for each in self.unhandled if "exception" in each]
        for task in self._tasks:
            if task.done() and task._log_traceback:  # type: ignore[attr-defined]
                found.append(task.exception())
        return found

    def close(self) -> None:
        """Forget everything scheduled and unwind the suspended coroutines, so that no memory is kept."""
        if self._closed:
            return
        self._closed = True
        self._ready.clear()
        self._timers.clear()
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                unwind(task.get_coro())
            elif not task.cancelled():
                task.exception()
        self._tasks.clear()


def unwind(coroutine: Any) -> None:
    """Close a suspended coroutine, however often its handlers await again while it is closed."""
    for _ in range(20):
        with contextlib.suppress(BaseException):
            coroutine.close()
            return


async def yield_once() -> None:
    """Let everything that is ready run first."""
    await asyncio.sleep(0)
