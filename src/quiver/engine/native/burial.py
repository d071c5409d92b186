"""Burial: a deleted index gets a last checkpoint, which names no segment, so that its objects become garbage.

That checkpoint stays for ever. It holds the seal when the log is gone: a node that stalled before the deletion
finds it when it looks for the end of the log, and can acknowledge nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.format import paths
from quiver.storage.commit_log import CommitLog, Machine

if TYPE_CHECKING:
    from quiver.format.checkpoint import Checkpoint
    from quiver.format.log_entry import Part
    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectStore


class _Blind(Machine):
    """Keeps nothing: only the log's own state matters here."""

    def restore(self, checkpoint: Checkpoint | None) -> None:
        """Nothing to restore."""

    def apply(self, slot: int, part: Part) -> None:
        """Nothing to apply."""


async def bury(store: ObjectStore, runtime: Runtime, index_id: str) -> None:
    """Publish the last checkpoint of a sealed index; does nothing when it exists, or when there is no seal.

    Raises StoreUnavailableError, StoreRefusedError, DataError.
    """
    log = CommitLog(store, runtime, paths.index_root(index_id), index_id, _Blind())
    while draft := await log.observe(lambda: _last_draft(log)):
        await log.publish_checkpoint(draft)  # when a flush was quicker, the next draft is made from its checkpoint
        runtime.reach("checkpoint:published")


def _last_draft(log: CommitLog) -> Checkpoint | None:
    """None when the checkpoint underneath has the seal already."""
    return log.draft_checkpoint(b"") if log.sealed and log.slot > log.base_slot else None
