"""The smallest system on the real commit log: a map of registers, checkpointed whole. Proves the log, fast."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from quiver.format import log_entry, paths
from quiver.format.envelope import Kind as EnvelopeKind
from quiver.format.envelope import decode
from quiver.format.log_entry import Part, PartKind
from quiver.objectstore.retrying_store import RetryingStore
from quiver.storage.commit_log import CommitLog, LogSettings, Machine
from quiver.storage.garbage import collect
from simulation.checkers.history import Violation
from simulation.replica import CLASSES, Answer, Replica
from simulation.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quiver.format.checkpoint import Checkpoint
    from simulation.store import Backing
    from simulation.world import Node

INDEX_ID = "a" * 32
ROOT = paths.index_root(INDEX_ID)


class Registers(Machine):
    """Values by key."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    def restore(self, checkpoint: Checkpoint | None) -> None:
        self.values = msgspec.msgpack.decode(checkpoint.state) if checkpoint else {}

    def apply(self, slot: int, part: Part) -> Any:
        keys, value = msgspec.msgpack.decode(part.body)
        for key in keys:
            if value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = value


class RegisterReplica(Replica):
    """Registers on one node."""

    def __init__(self, node: Node, settings: LogSettings, min_age: float) -> None:
        self.store = RetryingStore(node.store, node.runtime)
        self.machine = Registers()
        self.log = CommitLog(self.store, node.runtime, ROOT, INDEX_ID, self.machine, settings)
        self._runtime = node.runtime
        self._min_age = min_age

    async def put(self, keys: Sequence[str], value: int) -> int:
        return await self._append(PartKind.PUT, keys, value)

    async def delete(self, keys: Sequence[str]) -> int:
        return await self._append(PartKind.DELETE, keys, None)

    async def _append(self, kind: PartKind, keys: Sequence[str], value: int | None) -> int:
        body = msgspec.msgpack.encode((list(keys), value))
        return (await self.log.append(Part(kind, body))).slot

    async def get(self, keys: Sequence[str]) -> Answer:
        everything = await self.list()
        return Answer({key: v for key, v in everything.values.items() if key in keys}, everything.commit)

    async def list(self) -> Answer:
        return await self.log.observe(lambda: Answer(dict(self.machine.values), self.log.slot))

    async def query(self, value_class: int | None, limit: int | None = None) -> Answer:
        values, commit = await self.list()
        chosen = [(k, v) for k, v in values.items() if value_class is None or v % CLASSES == value_class]
        return Answer(dict(chosen[:limit]), commit)

    async def flush(self) -> None:
        draft = await self.log.observe(
            lambda: self.log.draft_checkpoint(msgspec.msgpack.encode(self.machine.values))
        )
        if draft.slot > self.log.base_slot:
            await self.log.publish_checkpoint(draft)

    async def compact(self) -> None:
        await self.flush()

    async def collect_garbage(self) -> None:
        await collect(self.store, self._runtime, ROOT, self.log.checkpoints, self._min_age, lambda _: ())


def replay(backing: Backing) -> Timeline:
    """What every log object ever created says: the truth answers are compared with."""
    changes = []
    applied: dict[str, int] = {}
    for slot in range(1, len(backing.log) + 1):
        key = paths.log_key(ROOT, slot)
        if key not in backing.log:
            raise Violation(f"slot {slot} of the log was skipped")
        identity, payload = decode(EnvelopeKind.LOG_ENTRY, key, INDEX_ID, backing.log[key][0])
        parts = []
        if applied.get(identity.writer, 0) < identity.sequence:
            applied[identity.writer] = identity.sequence
            parts = [msgspec.msgpack.decode(part.body) for part in log_entry.decode(key, payload)]
        changes.append(partial(after_parts, parts))
    return Timeline(changes)


def after_parts(parts: Sequence[tuple[list[str], int | None]], values: Mapping[str, int]) -> Mapping[str, int]:
    """What the parts of one log entry make of the values."""
    changed = dict(values)
    for keys, value in parts:
        for key in keys:
            if value is None:
                changed.pop(key, None)
            else:
                changed[key] = value
    return changed
