"""Burial: a deleted index gets a last checkpoint, which names no segment, so that its objects become garbage.

Only what clones still read stays pinned; snapshots go with their index. The last checkpoint stays for ever. It
holds the seal when the log is gone: a node that stalled before the deletion finds it when it looks for the end of
the log, and can acknowledge nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.engine.native.state import IndexCheckpoint, contents_of, encode_checkpoint
from quiver.format import paths
from quiver.storage.commit_log import CommitLog, Machine

if TYPE_CHECKING:
    from quiver.format.checkpoint import Checkpoint
    from quiver.format.log_entry import Part
    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectStore


class Blind(Machine):
    """Keeps no rows: only the log's own state matters here, and the checkpoint underneath."""

    def __init__(self) -> None:
        self.checkpoint: Checkpoint | None = None

    def restore(self, checkpoint: Checkpoint | None) -> None:
        self.checkpoint = checkpoint

    def apply(self, slot: int, part: Part) -> None:
        """Nothing to apply."""


async def bury(store: ObjectStore, runtime: Runtime, index_id: str) -> None:
    """Publish the last checkpoint of a sealed index; does nothing when it exists, or when there is no seal.

    Raises StoreUnavailableError, StoreRefusedError, DataError.
    """
    machine = Blind()
    log = CommitLog(store, runtime, paths.index_root(index_id), index_id, machine)
    while draft := await log.observe(lambda: _last_draft(log, machine)):
        await log.publish_checkpoint(draft)  # when a flush was quicker, the next draft is made from its checkpoint
        runtime.reach("checkpoint:published")


def _last_draft(log: CommitLog, machine: Blind) -> Checkpoint | None:
    """None when the checkpoint underneath has the seal already."""
    if not log.sealed or log.slot == log.base_slot:
        return None
    return log.draft_checkpoint(_remains(machine.checkpoint))


def _remains(checkpoint: Checkpoint | None) -> bytes:
    """The state of a deleted index: what its clones read, b"" for nothing."""
    contents = contents_of(checkpoint)
    pins = [pin for pin in contents.pins if pin.holder] if contents else []
    if contents is None or not pins:
        return b""
    return encode_checkpoint(IndexCheckpoint(contents.spec, [], pins=pins, origin=contents.origin))
