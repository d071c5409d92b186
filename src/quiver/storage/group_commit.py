"""Group commit: requests that arrive while an entry is being written go together into the next one. No timer."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from quiver.format.log_entry import Part, PartKind
from quiver.model.errors import BusyError, OutcomeUnknownError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quiver.format.checkpoint import Session
    from quiver.model.runtime import Runtime

    Condition = Callable[[], bool]
    """Whether a part may still be committed, by the state of the log just before it."""

    CommitParts = Callable[[list[Part], Condition | None], Awaitable[Session]]
    """Commits the parts of one entry, if the condition holds; tells where, with the result of each."""


class Commit(NamedTuple):
    """Where a part was committed, and what applying it answered."""

    slot: int
    result: Any


@dataclass(slots=True)
class _Pending:
    part: Part
    condition: Condition | None
    future: asyncio.Future[Commit]
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = len(self.part.body)

    @property
    def alone(self) -> bool:
        """Whether it has an entry of its own: nothing follows a seal, and a condition is judged for one part."""
        return self.part.kind == PartKind.SEAL or self.condition is not None


class GroupCommit:
    """The parts that wait to be committed, and the task that commits them, one entry at a time.

    Args:
        runtime: to start that task.
        group_bytes: an entry takes parts up to this size together; a larger part stands alone.
        queue_bytes: parts waiting beyond this are refused.
        deadline: seconds a request waits before its outcome is reported as unknown.
    """

    def __init__(self, runtime: Runtime, *, group_bytes: int, queue_bytes: int, deadline: float) -> None:
        self._runtime = runtime
        self._group_bytes = group_bytes
        self._queue_bytes = queue_bytes
        self._deadline = deadline
        self._queue: deque[_Pending] = deque()
        self._waiting_bytes = 0
        self._writing: asyncio.Task[None] | None = None

    async def append(self, part: Part, commit: CommitParts, condition: Condition | None = None) -> Commit:
        """Commit one part, through `commit`, which is the same in every call.

        (It is not kept between calls: its owner owns this object, and in a cycle a closed index would stay in
        memory until the garbage collector comes around to it.)

        Raises:
            BusyError: not committed, and never will be, because too much is waiting.
            OutcomeUnknownError: the deadline has passed; the part goes on being committed.
            Exception: what `commit` raised.
        """
        if self._waiting_bytes + len(part.body) > self._queue_bytes and self._queue:
            raise BusyError("Too many writes are waiting for this index")
        pending = _Pending(part, condition, asyncio.get_running_loop().create_future())
        pending.future.add_done_callback(_consume)
        self._queue.append(pending)
        self._waiting_bytes += pending.size
        if self._writing is None:
            self._writing = self._runtime.spawn(self._write(commit), "log writer")
        try:
            async with asyncio.timeout(self._deadline):
                return await asyncio.shield(pending.future)
        except TimeoutError:
            raise OutcomeUnknownError("The write was not confirmed in time; it may still be applied") from None

    async def _write(self, commit: CommitParts) -> None:
        try:
            while self._queue:
                await _commit_group(self._take_group(), commit)
        finally:
            self._writing = None

    def _take_group(self) -> list[_Pending]:
        """The next parts that fit into one entry."""
        group = [self._queue.popleft()]
        size = group[0].size
        while (
            self._queue
            and not group[-1].alone
            and not self._queue[0].alone
            and size + self._queue[0].size <= self._group_bytes
        ):
            size += self._queue[0].size
            group.append(self._queue.popleft())
        self._waiting_bytes -= size
        return group


async def _commit_group(group: list[_Pending], commit: CommitParts) -> None:
    try:
        session = await commit([pending.part for pending in group], group[0].condition)
    except Exception as error:  # noqa: BLE001 - whatever it was, the callers are told
        for pending in group:
            if not pending.future.done():
                pending.future.set_exception(error)
        return
    for pending, result in zip(group, session.results, strict=True):
        if not pending.future.done():
            pending.future.set_result(Commit(session.slot, result))


def _consume(future: asyncio.Future[Commit]) -> None:
    """Mark the exception as seen: the caller may have stopped waiting."""
    if not future.cancelled():
        future.exception()
