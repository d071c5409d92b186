"""The catalog of one node: the state machine replicated through a commit log, and a cache of index names."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from quiver.format import paths
from quiver.format.log_entry import Part, PartKind
from quiver.model.errors import NotFoundError, UnavailableError
from quiver.service import catalog_commands
from quiver.service.arn import IndexRef
from quiver.service.catalog_state import NO_INDEX, CatalogState, raise_failure
from quiver.storage.commit_log import CommitLog, LogSettings, Machine

if TYPE_CHECKING:
    from collections.abc import Callable

    from quiver.format.checkpoint import Checkpoint
    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectStore
    from quiver.service.arn import BucketRef
    from quiver.service.catalog_commands import Command
    from quiver.service.catalog_state import Bucket, Failure, Index

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CatalogSettings:
    """Plain values of a catalog.

    Attributes:
        log: of its commit log.
        checkpoint_slots: log entries between two checkpoints.
        cached_names: resolved index names kept in memory.
    """

    log: LogSettings = field(default_factory=LogSettings)
    checkpoint_slots: int = 256
    cached_names: int = 100_000


class CatalogMachine(Machine):
    """The catalog state as a commit log drives it."""

    def __init__(self) -> None:
        self.state = CatalogState()

    def restore(self, checkpoint: Checkpoint | None) -> None:
        self.state = CatalogState.decode(checkpoint.state) if checkpoint else CatalogState()

    def apply(self, slot: int, part: Part) -> Failure | None:  # noqa: ARG002 - commands carry their own time
        return self.state.apply(catalog_commands.decode(part.body)) if part.kind == PartKind.CATALOG else None


class Catalog:
    """Reads are strong, except `cached_index`, which may name an index that was deleted since."""

    def __init__(self, store: ObjectStore, runtime: Runtime, settings: CatalogSettings | None = None) -> None:
        self._settings = settings or CatalogSettings()
        self._runtime = runtime
        self._machine = CatalogMachine()
        self._log = CommitLog(
            store, runtime, paths.CATALOG_ROOT, paths.CATALOG_OWNER, self._machine, self._settings.log
        )
        self._names: dict[IndexRef, Index] = {}
        self._checkpointing = False

    async def refresh(self) -> int:
        """Catch up with every change acknowledged before this call; the log slot reached.

        Raises StoreUnavailableError, DataError.
        """
        return await self._log.refresh()

    async def read(self, capture: Callable[[CatalogState], T]) -> T:
        """What `capture` finds in a state that holds every change acknowledged before this call.

        Raises StoreUnavailableError, DataError, and what `capture` raises.
        """
        return await self._log.observe(lambda: capture(self._machine.state))

    def known(self, seconds: float) -> CatalogState | None:
        """The state as it stands, when it holds every change acknowledged more than `seconds` ago; else None.

        For looking at, here and now: it changes with the next replay.
        """
        return self._machine.state if self._log.is_known(seconds) else None

    async def execute(self, command: Command) -> int:
        """Change the catalog; the log slot of the change.

        Raises:
            RequestError: as the state machine decided, first on this node's state, then in the order of the log.
            RetryError: see `CommitLog.append`.
        """
        raise_failure(await self.read(lambda state: state.check(command)))
        commit = await self._log.append(Part(PartKind.CATALOG, catalog_commands.encode(command)))
        raise_failure(commit.result)
        self._checkpoint_when_due()
        return commit.slot

    # ---------------------------------------------------------------- names

    async def cached_index(self, ref: IndexRef) -> Index:
        """The index of this name, without I/O when the name was resolved before. Raises NotFoundError."""
        return self._names.get(ref) or await self.index(ref)

    async def index(self, ref: IndexRef) -> Index:
        """The index of this name now. Raises NotFoundError.

        Fills the cache, which the log's replay never touches: in the middle of one, the state may hold an
        index that was never created (see `CommitLog.observe`), and a write to that would be lost.
        """
        found = await self.read(lambda state: state.index(ref.bucket, ref.index))
        self._remember(ref, found)
        if found is None:
            raise NotFoundError(NO_INDEX)
        return found

    async def look_up(self, ref: BucketRef | IndexRef) -> tuple[Bucket | None, Index | None]:
        """The bucket and, for the name of an index, the index, as far as they exist now.

        Remembers the index, so that an operation that looks up both does so with one read.
        """
        if not isinstance(ref, IndexRef):
            return await self.read(lambda state: state.bucket(ref.bucket)), None
        bucket, index = await self.read(
            lambda state: (state.bucket(ref.bucket), state.index(ref.bucket, ref.index))
        )
        self._remember(ref, index)
        return bucket, index

    def _remember(self, ref: IndexRef, found: Index | None) -> None:
        self._names.pop(ref, None)
        if found is None:
            return
        if len(self._names) >= self._settings.cached_names:
            self._names.pop(next(iter(self._names)))
        self._names[ref] = found

    # ---------------------------------------------------------------- checkpoints

    def _checkpoint_when_due(self) -> None:
        """Start publishing, on whichever node makes the change. The next read moves `base_slot` up to it."""
        if not self._checkpointing and self._log.slot - self._log.base_slot >= self._settings.checkpoint_slots:
            self._checkpointing = True
            self._runtime.spawn(self._checkpoint(), "catalog checkpoint")

    async def _checkpoint(self) -> None:
        """Publish the state. When the store fails, the next change tries again."""
        try:
            with suppress(UnavailableError):
                draft = await self._log.observe(self._draft)
                await self._log.publish_checkpoint(draft)
        finally:
            self._checkpointing = False

    def _draft(self) -> Checkpoint:
        return self._log.draft_checkpoint(self._machine.state.encode())
