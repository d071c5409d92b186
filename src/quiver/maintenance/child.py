"""A handle of a running maintenance process: orders go in, reports come out."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from quiver.engine.engine import IndexSealedError
from quiver.maintenance.messages import Done, Failed, Order, Progress, Ready, decode_report, encode
from quiver.model.errors import UnavailableError

if TYPE_CHECKING:
    from quiver.engine.native.index import NativeIndex
    from quiver.engine.native.workshop import Job
    from quiver.maintenance.messages import Report
    from quiver.model.runtime import Runtime

EXIT_SECONDS = 5.0
"""How long a process that has been told to leave may take."""


class ChildLeftError(Exception):
    """The process had nothing to do and left before it saw the order."""


class _Ordered(NamedTuple):
    for_index: NativeIndex
    answer: asyncio.Future[None]


class Child:
    """One maintenance process, from its start to its end.

    Args:
        process: with its standard input and output as pipes.
        runtime: of this process.
    """

    def __init__(self, process: asyncio.subprocess.Process, runtime: Runtime) -> None:
        self._process = process
        self._orders: dict[int, _Ordered] = {}
        self._number = 0
        self._ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._listening = runtime.spawn(self._listen(), "maintenance process")

    @property
    def alive(self) -> bool:
        """Whether it takes orders, as far as is known."""
        return not self._listening.done()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def ready(self) -> bool:
        """Whether it got ready; False when it ended before."""
        return await asyncio.shield(self._ready)

    async def do(self, job: Job, index: NativeIndex) -> None:
        """Have a job done.

        Raises:
            ChildLeftError: nothing was done.
            IndexSealedError: the index was deleted.
            UnavailableError: the job failed, or the process died.
        """
        if not self.alive:
            raise ChildLeftError
        self._number += 1
        number, answer = self._number, asyncio.get_running_loop().create_future()
        self._orders[number] = _Ordered(index, answer)
        try:
            self._input.write(encode(Order(number, job, index.index_id, index.spec)))
            await answer
        finally:
            del self._orders[number]

    async def close(self) -> None:
        """Let it leave, at once, and see to it that it does."""
        self._input.close()
        try:
            await asyncio.wait([self._listening], timeout=EXIT_SECONDS)
        finally:
            if self.alive:
                with suppress(ProcessLookupError):
                    self._process.kill()
        await asyncio.wait([self._listening])

    @property
    def _input(self) -> asyncio.StreamWriter:
        assert self._process.stdin is not None  # noqa: S101 - a pipe, for the type checker
        return self._process.stdin

    async def _listen(self) -> None:
        """Hand out reports until the process has ended."""
        output = self._process.stdout
        assert output is not None  # noqa: S101 - a pipe, for the type checker
        try:
            while line := await output.readline():
                self._hear(decode_report(line))
        except (msgspec.MsgspecError, ValueError):  # not a line of the protocol
            self._process.kill()
        finally:
            self._input.close()
        code = await self._process.wait()
        if not self._ready.done():
            self._ready.set_result(False)
        for ordered in self._orders.values():
            if not ordered.answer.done():
                ordered.answer.set_exception(
                    UnavailableError(f"the maintenance process ended with {code}") if code else ChildLeftError()
                )

    def _hear(self, report: Report) -> None:
        if isinstance(report, Ready):
            self._ready.set_result(True)
            return
        ordered = self._orders.get(report.number)
        if ordered is None or ordered.answer.done():
            return  # whoever ordered it waits no more
        if isinstance(report, Progress):
            ordered.for_index.progress(report.stage, report.done, report.total)
        elif isinstance(report, Done):
            ordered.answer.set_result(None)
        else:
            ordered.answer.set_exception(_error(report))


def _error(report: Failed) -> IndexSealedError | UnavailableError:
    if report.error == IndexSealedError.__name__:
        return IndexSealedError()
    return UnavailableError(f"{report.error}: {report.message}")
