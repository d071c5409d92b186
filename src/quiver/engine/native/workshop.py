"""The workshop contract: where the upkeep of open indexes is done, here or elsewhere, and who watches it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quiver.engine.native.index import NativeIndex


class Job(StrEnum):
    """What a workshop does. A flush may run beside a tidying of the same index; neither waits for the other."""

    FLUSH = "flush"
    """Make a segment of the tail."""
    TIDY = "tidy"
    """Merge tiers until none needs it, then collect garbage."""


class Workshop(ABC):
    """Does the upkeep that `Maintenance` asks for. It decides where, never when."""

    @abstractmethod
    async def do(self, job: Job, index: NativeIndex) -> None:
        """Do a job to its end; `index` then stands on what was published, and `index.progress` was kept told.

        Raises QuiverError: the job may have been done in part, which harms nothing; do it again later.
        """

    @abstractmethod
    async def close(self) -> None:
        """Bring the jobs under way to an end, in bounded time if they are done elsewhere. No more are accepted."""


class OwnWorkshop(Workshop):
    """Upkeep on the index's own node, in its own process."""

    async def do(self, job: Job, index: NativeIndex) -> None:
        if job is Job.FLUSH:
            await index.maintenance.flush()
        else:
            await index.maintenance.tidy()

    async def close(self) -> None:
        """Nothing to do: whoever asked for a job waits for it."""


class Watcher:
    """Is told what upkeep goes on. This one takes no note; every method may be called often."""

    def started(self, job: Job) -> None:
        """A job began."""

    def ended(self, job: Job, seconds: float, *, done: bool) -> None:
        """A job that began came to its end, or failed."""

    def failed(self, job: Job, index_id: str, error: Exception) -> None:
        """A job of an index could not be done; it will be tried again."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """See quiver.model.progress.Progress."""
