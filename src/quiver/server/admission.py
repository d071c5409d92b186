"""Admission: a byte-weighted share of the memory that requests under way may hold, fair between access keys."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quiver.model.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(eq=False, slots=True)
class _Waiter:
    """One request in the queue; `came` is the virtual time of its arrival."""

    key: str
    size: int
    came: int
    turn: asyncio.Future[None]


class ByteBudget:
    """Hands out at most `capacity` bytes at a time.

    Requests of one key are served in the order they came. Between keys it is start-time fair queueing: every byte
    handed out to a key moves that key's next request back by one in virtual time, and the earliest is served
    first. So of keys that wait, each gets as many bytes as the others, however many requests it has in the queue.

    Args:
        capacity: bytes; a single request for more gets the whole budget alone.
        patience: seconds a caller waits for its share.
        of_one_key: bytes that one key may hold at a time; None for no such limit. A single request for more is
            served when its key holds nothing else.
    """

    def __init__(self, capacity: int, patience: float, of_one_key: int | None = None) -> None:
        self.capacity = capacity
        self.held = 0
        self._patience = patience
        self._of_one_key = capacity if of_one_key is None else of_one_key
        self._held_by: Counter[str] = Counter()
        self._waiting: dict[str, deque[_Waiter]] = {}
        self._now = 0
        self._served_until: dict[str, int] = {}

    @asynccontextmanager
    async def share(self, size: int, key: str = "") -> AsyncIterator[None]:
        """Hold `size` bytes of the budget for an access key.

        Raises:
            UnavailableError: no share came free in time.
        """
        size = min(size, self.capacity)
        await self._take(key, size)
        try:
            yield
        finally:
            self._give(key, size)

    async def _take(self, key: str, size: int) -> None:
        waiter = _Waiter(key, size, self._now, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(key, deque()).append(waiter)
        self._admit()
        if waiter.turn.done():
            return
        try:
            async with asyncio.timeout(self._patience):
                await waiter.turn
        except BaseException as error:
            self._leave(waiter)
            if isinstance(error, TimeoutError):
                raise UnavailableError("Currently unable to handle the request") from error
            raise

    def _leave(self, waiter: _Waiter) -> None:
        """Give up waiting: return a share that came at the same moment, and let the next in line try."""
        if waiter.turn.done() and not waiter.turn.cancelled():
            self._give(waiter.key, waiter.size)
            return
        self._remove(waiter)
        self._admit()

    def _remove(self, waiter: _Waiter) -> None:
        line = self._waiting.get(waiter.key)
        if line and waiter in line:
            line.remove(waiter)
            if not line:
                del self._waiting[waiter.key]

    def _give(self, key: str, size: int) -> None:
        self.held -= size
        self._held_by[key] -= size
        if not self._held_by[key]:
            del self._held_by[key]
        self._admit()

    def _admit(self) -> None:
        """Serve who is first in virtual time, until that one has to wait."""
        while candidates := [line[0] for line in self._waiting.values() if self._may_hold(line[0])]:
            first = min(candidates, key=self._start)
            if not first.turn.cancelled():
                if self.held + first.size > self.capacity:
                    return
                self._serve(first)
            self._remove(first)
        if not self._waiting and not self.held:
            self._served_until.clear()  # when nobody has to wait it does not matter who had more before

    def _serve(self, waiter: _Waiter) -> None:
        start = self._start(waiter)
        self._now = max(self._now, start)
        self._served_until[waiter.key] = start + waiter.size
        self.held += waiter.size
        self._held_by[waiter.key] += waiter.size
        waiter.turn.set_result(None)

    def _start(self, waiter: _Waiter) -> int:
        return max(waiter.came, self._served_until.get(waiter.key, 0))

    def _may_hold(self, waiter: _Waiter) -> bool:
        held = self._held_by.get(waiter.key, 0)
        return not held or held + waiter.size <= self._of_one_key
