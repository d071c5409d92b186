"""Admission: a fair, byte-weighted share of the memory that requests under way may hold."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from quiver.model.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class ByteBudget:
    """Hands out at most `capacity` bytes at a time, first come, first served.

    Args:
        capacity: bytes; a single request for more gets the whole budget alone.
        patience: seconds a caller waits for its share.
    """

    def __init__(self, capacity: int, patience: float) -> None:
        self.capacity = capacity
        self.held = 0
        self._patience = patience
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def share(self, size: int) -> AsyncIterator[None]:
        """Hold `size` bytes of the budget.

        Raises:
            UnavailableError: no share came free in time.
        """
        size = min(size, self.capacity)
        await self._take(size)
        try:
            yield
        finally:
            self._give(size)

    async def _take(self, size: int) -> None:
        if not self._waiting and self.held + size <= self.capacity:
            self.held += size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (size, turn)
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(self._patience):
                await turn
        except BaseException as error:
            self._leave(entry)
            if isinstance(error, TimeoutError):
                raise UnavailableError("Currently unable to handle the request") from error
            raise

    def _leave(self, entry: tuple[int, asyncio.Future[None]]) -> None:
        """Give up waiting: return a share that came at the same moment, and let the next in line try."""
        size, turn = entry
        if turn.done() and not turn.cancelled():
            self._give(size)
            return
        if entry in self._waiting:
            self._waiting.remove(entry)
        self._admit()

    def _give(self, size: int) -> None:
        self.held -= size
        self._admit()

    def _admit(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.cancelled():
                if self.held + size > self.capacity:
                    return
                self.held += size
                turn.set_result(None)
            self._waiting.popleft()
