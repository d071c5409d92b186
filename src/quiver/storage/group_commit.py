"""Group commit: requests that arrive while an entry is being written go together into the next one. No timer."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from quiver.format.log_entry import Part, PartKind
from quiver.model.errors import BusyError, OutcomeUnknownError, QuiverError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quiver.format.checkpoint import Session
    from quiver.model.runtime import Runtime

    CommitParts = Callable[[list["Waiting"]], Awaitable[Session | None]]
    """Commits what waits, in one entry; tells where, with the result of each part. Those whose condition does not
    hold are refused and taken out of the list; None when nothing is left."""


class ConditionFailedError(QuiverError):
    """What the part was to depend on does not hold; it is not committed, and never will be."""


class Condition(NamedTuple):
    """On what it depends that a part may be committed.

    Attributes:
        keys: what it is about; its part touches no others. So parts with distinct keys may share an entry: what
            the earlier ones do makes no difference to the later ones.
        holds: whether the part may still be committed, by the state of the log just before its entry.
    """

    keys: frozenset[str]
    holds: Callable[[], bool]


class Commit(NamedTuple):
    """Where a part was committed, and what applying it answered."""

    slot: int
    result: Any


@dataclass(slots=True, eq=False)
class Waiting:
    """A part that is to be committed, and who is told."""

    part: Part
    condition: Condition | None
    future: asyncio.Future[Commit]
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = len(self.part.body)

    def refuse(self, error: Exception) -> None:
        """Say that it was not committed, or may not have been."""
        if not self.future.done():
            self.future.set_exception(error)


class _Group:
    """What goes into one entry. Parts with a condition come before all others, about which keys are not known."""

    def __init__(self, first: Waiting) -> None:
        self.members = [first]
        self.size = first.size
        self._keys = set(first.condition.keys) if first.condition else set[str]()

    def take(self, waiting: Waiting) -> bool:
        """Take another in, unless it has to have another entry: nothing shares one with a seal."""
        last, condition = self.members[-1], waiting.condition
        if PartKind.SEAL in (last.part.kind, waiting.part.kind):
            return False
        if condition is not None:
            if last.condition is None or not self._keys.isdisjoint(condition.keys):
                return False
            self._keys.update(condition.keys)
        self.members.append(waiting)
        self.size += waiting.size
        return True


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
        self._queue: deque[Waiting] = deque()
        self._waiting_bytes = 0
        self._writing: asyncio.Task[None] | None = None

    async def append(self, part: Part, commit: CommitParts, condition: Condition | None = None) -> Commit:
        """Commit one part, through `commit`, which is the same in every call.

        (It is not kept between calls: its owner owns this object, and in a cycle a closed index would stay in
        memory until the garbage collector comes around to it.)

        Raises:
            BusyError: not committed, and never will be, because too much is waiting.
            OutcomeUnknownError: the deadline has passed; the part goes on being committed.
            ConditionFailedError: not committed, and never will be, because the condition did not hold.
            Exception: what `commit` raised.
        """
        if self._waiting_bytes + len(part.body) > self._queue_bytes and self._queue:
            raise BusyError("Too many writes are waiting for this index")
        waiting = Waiting(part, condition, asyncio.get_running_loop().create_future())
        waiting.future.add_done_callback(_consume)
        self._queue.append(waiting)
        self._waiting_bytes += waiting.size
        if self._writing is None:
            self._writing = self._runtime.spawn(self._write(commit), "log writer")
        try:
            async with asyncio.timeout(self._deadline):
                return await asyncio.shield(waiting.future)
        except TimeoutError:
            raise OutcomeUnknownError("The write was not confirmed in time; it may still be applied") from None

    async def _write(self, commit: CommitParts) -> None:
        try:
            while self._queue:
                await _commit_group(self._take_group(), commit)
        finally:
            self._writing = None

    def _take_group(self) -> list[Waiting]:
        """The next parts that fit into one entry."""
        group = _Group(self._queue.popleft())
        while self._queue and group.size + self._queue[0].size <= self._group_bytes and group.take(self._queue[0]):
            self._queue.popleft()
        self._waiting_bytes -= group.size
        return group.members


async def _commit_group(group: list[Waiting], commit: CommitParts) -> None:
    try:
        session = await commit(group)
    except Exception as error:  # noqa: BLE001 - whatever it was, the callers are told
        for waiting in group:
            waiting.refuse(error)
        return
    for waiting, result in zip(group, session.results if session else (), strict=True):
        if session and not waiting.future.done():
            waiting.future.set_result(Commit(session.slot, result))


def _consume(future: asyncio.Future[Commit]) -> None:
    """Mark the exception as seen: the caller may have stopped waiting."""
    if not future.cancelled():
        future.exception()
