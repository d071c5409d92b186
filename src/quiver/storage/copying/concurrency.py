"""The same work on many items, a bounded number of them at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

T = TypeVar("T")


async def for_each(limit: int, items: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Do `work` on every item, at most `limit` at once, begun in their order.

    After a failure nothing more is begun; what is under way ends before the error is raised.
    """
    waiting = iter(items)
    failures: list[Exception] = []

    async def worker() -> None:
        for item in waiting:
            if failures:
                return
            try:
                await work(item)
            except Exception as error:  # noqa: BLE001 - raised below, when the others have ended
                failures.append(error)

    await asyncio.gather(*(worker() for _ in range(limit)))
    if failures:
        raise failures[0]
