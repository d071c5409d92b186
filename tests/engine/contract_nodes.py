"""Nodes that the contract of engines is tried on, and the decorator that runs and closes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import wraps
from typing import TYPE_CHECKING, Any

from asynchronous import asynchronous as on_a_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from quiver.engine.engine import Engine, Index
    from quiver.model.types import IndexSpec

INDEX = "0123456789abcdef" * 2


class Nodes(ABC):
    """A store of some kind, and as many nodes over it as a test wants."""

    def __init__(self) -> None:
        self._engines: list[Engine] = []

    @abstractmethod
    def new_engine(self) -> Engine:
        """A node with nothing in memory."""

    async def open(self, spec: IndexSpec, index_id: str = INDEX) -> Index:
        """The index on a node of its own."""
        return await self.start().open(index_id, spec)

    def start(self) -> Engine:
        engine = self.new_engine()
        self._engines.append(engine)
        return engine

    async def close(self) -> None:
        for engine in self._engines:
            await engine.close()


def asynchronous(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test of the contract on an event loop, and close its nodes on the same."""

    @wraps(test)
    async def closing(self: object, nodes: Nodes, **others: Any) -> None:
        try:
            await test(self, nodes, **others)
        finally:
            await nodes.close()

    return on_a_loop(closing)
