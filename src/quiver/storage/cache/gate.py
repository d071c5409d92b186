"""Lets a bounded number of requests through at once, the most urgent first."""

from __future__ import annotations

import asyncio
import heapq
from contextlib import asynccontextmanager
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Urgency(IntEnum):
    """Who waits for the bytes."""

    QUERY = 0
    WARMING = 1
    MAINTENANCE = 2


class Gate:
    """At most `width` holders. Those who wait are let in by urgency, then in the order they came."""

    def __init__(self, width: int) -> None:
        self._free = width
        self._waiting: list[tuple[Urgency, int, asyncio.Future[None]]] = []
        self._count = 0

    @asynccontextmanager
    async def entered(self, urgency: Urgency) -> AsyncIterator[None]:
        """Wait for a place, and hold it."""
        await self._enter(urgency)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, urgency: Urgency) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._waiting, (urgency, self._count, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()  # the place was given just before
            raise

    def _leave(self) -> None:
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)  # the place passes on
                return
        self._free += 1
