"""An event loop on a thread of its own, which callers may use themselves while it is idle.

Handing a coroutine to another thread and waiting for it costs about 0.1 ms, a good part of a query. Most reads of
a warm index never wait for anything: those are run to their end on the caller's thread, in the loop's name. One
lock says whose turn it is: the loop's thread holds it except while it waits for events, so that what runs on the
loop never runs beside it. A coroutine that has to wait after all goes on as a task of the loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
import signal
import threading  # noqa: TID251 - the loop of the synchronous face runs beside the caller's thread

# Not by `signal`, which turns handlers into enumerations and back: 20 us a query.
from _signal import getsignal as get_handler  # type: ignore[import-not-found]
from _signal import signal as set_handler
from types import coroutine as generator_coroutine
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, TypeVarTuple, Unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Sequence

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_INTERRUPT = int(signal.SIGINT)


class LoopThread:
    """The loop and its daemon thread."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._loop = _Loop(_Selector(self._turn))
        self._main = threading.main_thread().ident
        self._thread = threading.Thread(target=self._serve, name="quiver-loop", daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether the loop has ended."""
        return self._loop.is_closed()

    def run(self, coroutine: Coroutine[Any, Any, T], *, at_once: bool = False) -> T:
        """Run a coroutine and wait; an interrupt of the waiting thread cancels it.

        Args:
            coroutine: what to run.
            at_once: begin on this thread if the loop is idle. Until it waits for the first time, the coroutine is
                in no task: it must not use what asks for the current one, such as `asyncio.timeout`.

        Raises: RuntimeError when the loop has ended, and what the coroutine raises.
        """
        if self._loop.is_closed():
            coroutine.close()
            raise RuntimeError("this Quiver object is closed")
        if at_once and not self._loop.get_debug() and self._turn.acquire(blocking=False):
            try:
                begun = self._begin(coroutine)
            finally:
                self._turn.release()
            if not isinstance(begun, _Begun):
                return begun
            coroutine = begun.rest()
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    def close(self) -> None:
        """Cancel what still runs, end the loop and its thread. Idempotent."""
        if self.closed:
            return
        self.run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _serve(self) -> None:
        with self._turn:
            self._loop.run_forever()

    def _begin(self, coroutine: Coroutine[Any, Any, T]) -> T | _Begun:
        """Run a coroutine until it ends or waits. The caller has the turn.

        An interrupt waits for the end of this step: the state that it works on outlives the caller.
        """
        loop, context, noticed = self._loop, contextvars.copy_context(), []
        # Only the main thread is interrupted, and only by a handler of Python.
        handler = get_handler(_INTERRUPT) if threading.get_ident() == self._main else None
        if callable(handler):
            set_handler(_INTERRUPT, lambda *given: noticed.append(given))
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(loop)
        loop.woken = True
        try:
            return _Begun(coroutine, context.run(coroutine.send, None), context)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            asyncio._set_running_loop(outer)
            if not loop.woken:
                loop.call_soon_threadsafe(_nothing)
            if callable(handler):
                _allow(handler, noticed, coroutine)


def _allow(
    handler: Callable[..., Any], noticed: Sequence[tuple[Any, ...]], coroutine: Coroutine[Any, Any, Any]
) -> None:
    """Handle interrupts as before, beginning with one that was noticed meanwhile."""
    try:
        set_handler(_INTERRUPT, handler)
        if noticed:
            handler(*noticed[0])
    except BaseException:
        coroutine.close()  # it may have begun to wait
        raise


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class _Selector(selectors.DefaultSelector):
    """Gives the turn away while it waits."""

    def __init__(self, turn: threading.Lock) -> None:
        super().__init__()
        self._turn = turn

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._turn.release()
        try:
            return super().select(timeout)
        finally:
            self._turn.acquire()


class _Loop(asyncio.SelectorEventLoop):
    """Notices what a borrower schedules, for which the waiting thread has to be woken.

    Attributes:
        woken: nothing was scheduled since this was set.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        super().__init__(selector)
        self.woken = True

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        self.woken = False
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        self.woken = False
        return super().call_at(when, callback, *args, context=context)


class _Begun(NamedTuple):
    """A coroutine that waits for `awaited`, and the context it was begun in."""

    coroutine: Coroutine[Any, Any, Any]
    awaited: Any
    context: contextvars.Context

    async def rest(self) -> Any:
        """Go on, in a task of the same context."""
        return await asyncio.get_running_loop().create_task(self._resume(), context=self.context)

    async def _resume(self) -> Any:
        return await _resumed(self.coroutine, self.awaited)


@generator_coroutine
def _resumed(coroutine: Coroutine[Any, Any, T], awaited: Any) -> Generator[Any, Any, T]:
    """Wait in the coroutine's place, and let it go on with what comes of it."""
    while True:
        try:
            try:
                yield awaited
            except BaseException as error:  # noqa: BLE001 - the coroutine's to handle, cancellation too
                awaited = coroutine.throw(error)
            else:
                awaited = coroutine.send(None)
        except StopIteration as end:
            result: T = end.value
            return result


def _nothing() -> None:
    """Wakes the loop."""
