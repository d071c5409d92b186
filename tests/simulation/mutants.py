"""Known-bad variants of the product, each a bug that lost somebody's data elsewhere. The simulator must find all.

A mutant replaces one small method of the real classes for the time of a run; `after` names where the bug was met.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import msgspec

from quiver.engine.native import compaction, flush
from quiver.engine.native.snapshot import OpenSegment, Snapshot, SnapshotSource
from quiver.format import checkpoint as checkpoint_format
from quiver.format import paths
from quiver.format.envelope import Identity, Kind, encode, make_payload
from quiver.objectstore.store import (
    ObjectExistsError,
    ObjectNotFoundError,
    StoreRefusedError,
    StoreUnavailableError,
)
from quiver.storage import garbage, segment_writer
from quiver.storage.checkpoint_store import CheckpointStore
from quiver.storage.commit_log import CommitLog
from simulation import scenarios
from simulation.faults import Faults
from simulation.scenarios import NO_BIAS, Bias

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulation.scenarios import Report
    from simulation.workload import Plan


@dataclass(frozen=True)
class Mutant:
    """A bug, where it comes from, and the runs that bring it to light within `seeds` seeds."""

    name: str
    after: str
    apply: Callable[[], AbstractContextManager[Any]]
    run: Callable[[int, Bias], Report]
    bias: Bias = NO_BIAS
    seeds: int = 100

    @property
    def is_patch(self) -> bool:
        """False when the bug is in the store, that is in the bias itself."""
        return self.apply is not nullcontext

    def first_caught(self) -> Report | None:
        """The first run that is found in violation, or None."""
        for seed in range(self.seeds):
            with self.apply():
                report = self.run(seed, self.bias)
            if report.problem is not None:
                return report
        return None


# ------------------------------------------------------------------ bias


def lost_answers(faults: Faults) -> Faults:
    return faults.but(fail_after=0.15, zombie=0.15, exists_after_own=0.15, kill=1.0, crash=0.0)


def stalled_writers(faults: Faults) -> Faults:
    return faults.but(pause=8.0, zombie=0.1, fail_after=0.1, kill=0.0, crash=0.0, partition=0.0, refuse=0.0)


def busy(plan: Plan) -> Plan:
    return replace(plan, clients=4, think=0.3, maintenance=0.5)


def crowded(plan: Plan) -> Plan:
    """Several nodes, all appending and checkpointing as fast as they can."""
    return replace(plan, nodes=4, clients=6, think=0.2, maintenance=0.3, patience=60.0)


# ------------------------------------------------------------------ the commit log


async def fill_timeout_is_failure(self: CommitLog, slot: int, identity: Identity, payload: Any) -> bool:
    try:
        await self._store.put_new(identity.key, encode(Kind.LOG_ENTRY, identity, payload))
    except ObjectExistsError:
        return False
    except StoreUnavailableError:
        raise StoreRefusedError("timed out") from None
    return True


async def fill_missing_is_failure(self: CommitLog, slot: int, identity: Identity, payload: Any) -> bool:
    try:
        await self._store.put_new(identity.key, encode(Kind.LOG_ENTRY, identity, payload))
    except ObjectExistsError:
        return False
    except StoreUnavailableError:
        try:
            await self._store.get(identity.key)
        except ObjectNotFoundError:
            raise StoreRefusedError("timed out, and it is not there") from None
        return False
    return True


def without_read_back() -> AbstractContextManager[Any]:
    """An entry whose put did not succeed at once is taken for lost and appended again under a new number."""
    settle = CommitLog._settle

    async def settle_without(self: CommitLog, slot: int, identity: Identity, parts: Any, *, created: bool) -> None:
        await settle(self, slot, identity, parts, created=created)
        if not created:
            self._sequence += 1

    return patch.object(CommitLog, "_settle", settle_without)


async def settle_without_boundary(
    self: CommitLog, slot: int, identity: Identity, parts: Any, *, created: bool
) -> None:
    async with self._replay_lock:
        if created and self.slot == slot - 1:
            self._apply(slot, identity, parts)
        else:
            await self._replay()


async def replay_until_absence(self: CommitLog) -> None:
    if not self._opened:
        await self._open()
        self._opened = True
    while not self.sealed and (parts := await self._read(self.slot + 1)) is not None:
        self._apply(self.slot + 1, *parts)


def without_sessions() -> AbstractContextManager[Any]:
    draft = CommitLog.draft_checkpoint

    def draft_without(self: CommitLog, state: bytes) -> Any:
        return msgspec.structs.replace(draft(self, state), sessions={})

    return patch.object(CommitLog, "draft_checkpoint", draft_without)


def with_unchained_checkpoints() -> AbstractContextManager[Any]:
    """Checkpoints numbered by slot, so that several drafts of one base can all be published."""
    draft = CommitLog.draft_checkpoint

    def draft_unchained(self: CommitLog, state: bytes) -> Any:
        return msgspec.structs.replace(draft(self, state), generation=self.slot)

    return patch.object(CommitLog, "draft_checkpoint", draft_unchained)


def in_log(name: str, replacement: Any) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: patch.object(CommitLog, name, replacement)


# ------------------------------------------------------------------ the native engine


async def create_without_read_back(self: CheckpointStore, checkpoint: Any, writer: str) -> bool:
    """An ambiguous put is repeated, and "exists" then taken for another node's success."""
    key = paths.checkpoint_key(self._root, checkpoint.generation)
    identity = Identity(key, self._owner, writer, checkpoint.generation)
    body = encode(Kind.CHECKPOINT, identity, make_payload([checkpoint_format.encode(checkpoint)]))
    while True:
        try:
            await self._store.put_new(key, body)
        except ObjectExistsError:
            return False
        except StoreUnavailableError:
            await self._runtime.sleep(0.1)
        else:
            return True


def with_cleanup_on_conflict() -> AbstractContextManager[Any]:
    """A flush or compaction that believes it lost deletes the segments it wrote."""
    publish = flush.publish

    async def publish_and_clean_up(index: Any, draft: Any, segments: Any) -> bool:
        won = await publish(index, draft, segments)
        if not won:
            mine = [ref.id for ref in segments if ref.id.startswith(f"{draft.generation:016x}-")]
            await index.store.delete(
                [
                    paths.segment_key(index.root, segment, part)
                    for segment in mine
                    for part in (paths.ROWS, paths.SEGMENT_INDEX)
                ]
            )
        return won

    return together(
        patch.object(CheckpointStore, "create", create_without_read_back),
        patch.object(flush, "publish", publish_and_clean_up),
        patch.object(compaction, "publish", publish_and_clean_up),
    )


def is_garbage_by_age(root: str, info: Any, newest: Any, named: Any) -> bool:
    name = paths.classify(root, info.key)
    if name.kind == "segment":
        return name.segment not in named
    return IS_GARBAGE(root, info, newest, named)


IS_GARBAGE = garbage._is_garbage


async def host_time(store: Any, runtime: Any, root: str) -> float:
    return runtime.time()


async def open_what_is_there(self: SnapshotSource, view: Any) -> Snapshot:
    """A segment of a stale list that is gone is passed over."""
    segments = []
    for ref in view.segments:
        try:
            reader = await self._pool.open(self._root, self._owner, ref.id, self._spec)
        except ObjectNotFoundError:
            continue
        mask = view.masks[ref.id]
        mask.extend(view.tail, reader.find)
        segments.append(OpenSegment(reader, ref.dead() | mask.hidden(view.commit)))
    return Snapshot(view.commit, view.base, segments, view.tail)


def bury_what_is_there(segments: Any, snapshot: Snapshot) -> Any:
    dead = {reader.segment: rows for reader, rows in snapshot.segments}
    return [
        msgspec.structs.replace(ref, tombstones=dead[ref.id].serialize())
        for ref in segments
        if ref.id in dead and len(dead[ref.id]) < ref.rows
    ]


def with_stale_segment_lists() -> AbstractContextManager[Any]:
    return together(
        patch.object(SnapshotSource, "_open", open_what_is_there),
        patch.object(flush, "bury", bury_what_is_there),
        patch.object(compaction, "bury", bury_what_is_there),
    )


async def create_believing_409(store: Any, runtime: Any, key: str, parts: Any) -> None:
    while True:
        try:
            await store.put_new(key, parts)
        except ObjectExistsError:
            return
        except StoreUnavailableError:
            await runtime.sleep(0.1)
        else:
            return


def together(*patches: AbstractContextManager[Any]) -> AbstractContextManager[Any]:
    """Several patches as one."""
    stack = ExitStack()
    for each in patches:
        stack.enter_context(each)
    return stack


def in_garbage(**replacements: Any) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: patch.multiple(garbage, **replacements)


def paused_readers(faults: Faults) -> Faults:
    return Faults(slow=0.05, pause=6.0)


def conflicts(faults: Faults) -> Faults:
    return faults.but(conflict_as_exists=0.15)


MUTANTS = [
    Mutant(
        "no read-back",
        "Icechunk #2099",
        without_read_back,
        scenarios.run_registers,
        Bias(lost_answers, busy),
    ),
    Mutant(
        "timeout is failure",
        "delta-rs #2279, Iceberg #2317",
        in_log("_fill", fill_timeout_is_failure),
        scenarios.run_registers,
        Bias(lost_answers, busy),
    ),
    Mutant(
        "404 after a timeout is failure",
        "Iceberg #3717",
        in_log("_fill", fill_missing_is_failure),
        scenarios.run_registers,
        Bias(lost_answers, busy),
    ),
    Mutant(
        "no boundary check",
        "SlateDB #1622, Lance #3718",
        in_log("_settle", settle_without_boundary),
        scenarios.run_registers,
        Bias(stalled_writers, crowded, min_age=0.0),
    ),
    Mutant(
        "absence is the end of the log",
        "OSWALD's rule, left out",
        in_log("_replay", replay_until_absence),
        scenarios.run_registers,
        Bias(stalled_writers, crowded, min_age=0.0),
    ),
    Mutant(
        "session table dropped",
        "FoundationDB commit_unknown_result",
        without_sessions,
        scenarios.run_registers,
        Bias(lost_answers, crowded, min_age=0.0),
    ),
    Mutant(
        "the store ignores the condition now and then",
        "MinIO #21603",
        nullcontext,
        scenarios.run_registers,
        Bias(lambda faults: faults.but(ignore_condition=0.005), crowded),
    ),
    Mutant(
        "cleanup on conflict",
        "Lance #8123, duckdb-iceberg #1120",
        with_cleanup_on_conflict,
        scenarios.run_engine,
        Bias(lost_answers, busy),
    ),
    Mutant(
        "garbage collection by age only",
        "SlateDB RFC 29",
        in_garbage(_is_garbage=is_garbage_by_age),
        scenarios.run_engine,
        Bias(scenarios.stalling_upkeep, scenarios.many_maintainers, min_age=2.0),
    ),
    Mutant(
        "host clock in garbage collection by age",
        "Icechunk #2310",
        in_garbage(_is_garbage=is_garbage_by_age, _store_time=host_time),
        scenarios.run_engine,
        Bias(scenarios.stalling_upkeep, scenarios.many_maintainers, min_age=300.0),
    ),
    Mutant(
        "stale segment list after NotFound",
        "Chroma: an index shrank to its log's tail",
        with_stale_segment_lists,
        scenarios.run_engine,
        Bias(paused_readers, crowded, min_age=0.0),
        seeds=300,
    ),
    Mutant(
        "409 read as exists",
        "object_store #852",
        lambda: patch.object(segment_writer, "_create", create_believing_409),
        scenarios.run_engine,
        Bias(conflicts, busy),
    ),
]
