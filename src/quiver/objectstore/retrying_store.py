"""A store that repeats reads, listings and deletes that failed. Puts pass through: only their caller can tell
whether a put that failed has been applied."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from quiver.objectstore.forwarding_store import ForwardingStore
from quiver.objectstore.store import StoreMisconfiguredError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import Buffer, ObjectInfo, ObjectStore

T = TypeVar("T")


class RetryingStore(ForwardingStore):
    """Repeats with exponential backoff and full jitter until `patience` seconds have passed.

    Not what fails because of the configuration: who started the process wrongly is told at once.
    """

    def __init__(
        self, inner: ObjectStore, runtime: Runtime, *, patience: float = 20.0, first_delay: float = 0.05
    ) -> None:
        super().__init__(inner)
        self._runtime = runtime
        self._patience = patience
        self._first_delay = first_delay

    async def get(self, key: str, start: int = 0, length: int | None = None) -> Buffer:
        return await self._repeat(lambda: self.inner.get(key, start, length))

    async def stands(self, key: str, head: Buffer, absent: Sequence[str]) -> bool:
        return await self._repeat(lambda: self.inner.stands(key, head, absent))

    async def list(self, prefix: str, after: str = "") -> list[ObjectInfo]:
        return await self._repeat(lambda: self.inner.list(prefix, after))

    async def delete(self, keys: Sequence[str]) -> None:
        await self._repeat(lambda: self.inner.delete(keys))

    async def _repeat(self, attempt: Callable[[], Awaitable[T]]) -> T:
        give_up = self._runtime.monotonic() + self._patience
        delay = self._first_delay
        while True:
            try:
                return await attempt()
            except StoreMisconfiguredError:
                raise
            except StoreUnavailableError:
                if self._runtime.monotonic() + delay > give_up:
                    raise
            await self._runtime.sleep(delay * (0.5 + self._runtime.random() / 2))
            delay = min(2 * delay, 2.0)
