"""Known-bad variants of the product, each a bug that lost somebody's data elsewhere. The simulator must find all.

A mutant replaces one small method of the real classes for the time of a run; `after` names where the bug was met.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import msgspec
import numpy as np
from pyroaring import BitMap

from quiver.engine.engine import STRONG, IndexSealedError
from quiver.engine.native import compaction, conditional, flush, load, maintenance, text_leg
from quiver.engine.native.snapshot import OpenSegment, Snapshot, SnapshotSource
from quiver.engine.native.state import IndexState, View, contents_of, encode_checkpoint
from quiver.format import checkpoint as checkpoint_format
from quiver.format import paths
from quiver.format.envelope import Identity, Kind, encode, make_payload
from quiver.format.log_entry import PartKind
from quiver.model.errors import ValidationError
from quiver.objectstore.store import (
    ObjectExistsError,
    ObjectNotFoundError,
    StoreRefusedError,
    StoreUnavailableError,
)
from quiver.service.catalog import Catalog
from quiver.service.catalog_commands import DropIndex
from quiver.service.context import Context, Response
from quiver.service.index_operations import IndexOperations
from quiver.storage import garbage, group_commit, segment_writer
from quiver.storage.checkpoint_store import CheckpointStore
from quiver.storage.commit_log import CommitLog
from simulation import clone_mutants, scenarios
from simulation.faults import Faults
from simulation.scenarios import NO_BIAS, Bias

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulation.scenarios import Report
    from simulation.workload import Plan


@dataclass(frozen=True)
class Mutant:
    """A bug, where it comes from, and the runs that bring it to light within `seeds` seeds.

    One that shows seldom is looked for first at and after the seed `first`, where it showed when this was written.
    """

    name: str
    after: str
    apply: Callable[[], AbstractContextManager[Any]]
    run: Callable[[int, Bias], Report]
    bias: Bias = NO_BIAS
    seeds: int = 100
    first: int = 0

    @property
    def is_patch(self) -> bool:
        """False when the bug is in the store, that is in the bias itself."""
        return self.apply is not nullcontext

    def first_caught(self) -> Report | None:
        """The first run that is found in violation, or None."""
        for seed in (*range(self.first, self.seeds), *range(self.first)):
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


def laggards(faults: Faults) -> Faults:
    """Nodes that stand still for a while again and again, and deletions and puts that take their time."""
    return Faults(pause=6.0, slow=0.1, stall_upkeep=0.1, zombie=0.05)


def many_readers(plan: Plan) -> Plan:
    return replace(plan, nodes=6, clients=6, think=0.1, maintenance=0.2, patience=60.0, duration=60.0)


def loading(plan: Plan) -> Plan:
    """Many nodes, and a third of all requests loads."""
    return replace(scenarios.many_maintainers(plan), loads=0.33, patience=120.0)


def loading_over_tails(plan: Plan) -> Plan:
    """The same, where little is flushed."""
    return replace(loading(plan), maintenance=20.0)


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


def with_checkpoints_deleted_newest_first() -> AbstractContextManager[Any]:
    """A reader finds its checkpoint, and none after it, though there were many."""
    in_order = garbage._delete_in_order

    async def reversed_order(store: Any, runtime: Any, expired: Any) -> None:
        await in_order(store, runtime, list(reversed(expired)))

    return patch.object(garbage, "_delete_in_order", reversed_order)


def with_the_log_deleted_up_to_the_newest_checkpoint() -> AbstractContextManager[Any]:
    """A reader of an older checkpoint, which is still there, misses entries."""

    async def boundary(root: str, checkpoints: Any, newest: Any, remaining: Any) -> int:
        return int(newest.slot)

    return patch.object(garbage, "_boundary", boundary)


async def holds_unseen(self: CheckpointStore, generation: int, head: bytes) -> bool:
    return True


def with_bases_known_by_name() -> AbstractContextManager[Any]:
    """Whatever has the name of the checkpoint that a reader stands on is taken for it."""

    async def holds(self: CheckpointStore, generation: int, head: bytes) -> bool:
        return await self.has(generation)

    return patch.object(CheckpointStore, "holds", holds)


def with_listed_checkpoints_trusted() -> AbstractContextManager[Any]:
    """What is read under the newest name of a listing is taken for the newest checkpoint."""
    restore = CommitLog._restore

    def restore_trusting(self: CommitLog, stored: Any) -> None:
        restore(self, stored)
        self._proven = stored is not None

    return patch.object(CommitLog, "_restore", restore_trusting)


def with_openings_trusted() -> AbstractContextManager[Any]:
    """The copy of a checkpoint in an opening is taken for the newest, without another look at the store."""
    guessed, stored, restore_newer = CommitLog._guessed, CommitLog._stored, CommitLog._restore_newer

    def guess_always(self: CommitLog, newest: int, copy: Any) -> Any:
        self.__dict__["trusting"] = copy is not None
        return guessed(self, copy.checkpoint.generation if copy else newest, copy)

    async def stored_unseen(self: CommitLog, generation: int, copy: Any) -> Any:
        return copy or await stored(self, generation, copy)

    async def restore_newer_unless_trusting(self: CommitLog) -> bool:
        self._proven = self.__dict__.pop("trusting", False)
        return not self._proven and await restore_newer(self)

    return together(
        patch.object(CommitLog, "_guessed", guess_always),
        patch.object(CommitLog, "_stored", stored_unseen),
        patch.object(CommitLog, "_restore_newer", restore_newer_unless_trusting),
    )


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

    async def publish_and_clean_up(index: Any, draft: Any, segments: Any, *others: Any) -> bool:
        won = await publish(index, draft, segments, *others)
        if not won:
            mine = [ref.id for ref in segments if ref.id.startswith(f"{draft.checkpoint.generation:016x}-")]
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


async def open_what_is_there(self: SnapshotSource, view: Any, *urgency: Any) -> Snapshot:
    """A segment of a stale list that is gone is passed over."""
    segments = []
    for ref in view.segments:
        try:
            reader = await self.open(ref)
        except ObjectNotFoundError:
            continue
        mask = view.masks[ref.id]
        await self.complete(partial(mask.extend, view.tail, reader.find))
        segments.append(OpenSegment(reader, mask.dead(view.commit)))
    return Snapshot(view.commit, view.base_slot, segments, view.tail)


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


def with_reads_that_forget_the_commit() -> AbstractContextManager[Any]:
    """A read that has to reflect a commit is answered like any other."""
    read = SnapshotSource.read

    async def read_any(self: SnapshotSource, work: Any, note: Any, *others: Any, **named: Any) -> Any:
        freshness = named.pop("freshness", STRONG)
        if others:  # a query, which the workload lets be strong
            return await read(self, work, note, *others, **named)
        return await read(self, work, note, freshness=freshness._replace(at_least=0))

    return patch.object(SnapshotSource, "read", read_any)


def is_known_for_ever(self: CommitLog, seconds: float) -> bool:
    return self._settled


def reading_ahead_for_good() -> AbstractContextManager[Any]:
    """The answer is what came of the state at hand, whatever the check says."""
    return patch.object(View, "is_same", lambda self, other: True)


# ------------------------------------------------------------------ loads and merges


def segments_only(checkpoint: Any) -> set[str]:
    """Garbage collection that knows of no reservations."""
    contents = contents_of(checkpoint)
    return {ref.id for ref in contents.segments} if contents else set()


def with_a_load_that_trusts_its_put() -> AbstractContextManager[Any]:
    """A load takes a checkpoint that it could create for published. Rare: see test_late_load.py."""
    publish = load.publish
    won: dict[Any, bool] = {}

    async def publish_and_note(index: Any, *others: Any, **named: Any) -> bool:
        won[index] = await publish(index, *others, **named)
        return won[index]

    async def is_reserved(index: Any, segment: str) -> bool:
        return not won[index]

    return together(
        patch.object(load, "publish", publish_and_note), patch.object(load, "is_reserved", is_reserved)
    )


def without_reservations() -> AbstractContextManager[Any]:
    """Segments are collected while they are written, and published nevertheless."""
    return together(
        patch.object(maintenance, "references_of", segments_only),
        patch.object(load, "check_reserved", lambda reserved, segment: None),
        patch.object(compaction, "check_reserved", lambda reserved, segment: None),
    )


def without_moved_tombstones() -> AbstractContextManager[Any]:
    """What died while a merge was under way comes back with it."""
    return patch.object(compaction, "_moved_tombstones", lambda merge, segments: BitMap())


def over_a_live_tail() -> AbstractContextManager[Any]:
    """Rows of the tail stay beside the loaded rows of the same keys."""

    async def store_all(index: Any, draft: Any, superseded: Any) -> Any:
        return await flush.store_tail(index, draft)

    return patch.object(load, "store_tail", store_all)


# ------------------------------------------------------------------ conditional writes


def without_conditions() -> AbstractContextManager[Any]:
    """What was decided is written, whatever happened since."""
    return patch.object(conditional, "holds", lambda state, since, keys: True)


def with_conditions_judged_once() -> AbstractContextManager[Any]:
    """The condition is judged before the first attempt, not before each: a lost slot changes nothing."""
    slot_for = CommitLog._slot_for
    judged: dict[CommitLog, Any] = {}

    async def slot_for_new(self: CommitLog, waiting: list[Any]) -> int:
        if judged.get(self) is waiting:
            return self.slot + 1
        judged[self] = waiting
        return await slot_for(self, waiting)

    return patch.object(CommitLog, "_slot_for", slot_for_new)


def with_entries_shared_by_all() -> AbstractContextManager[Any]:
    """Conditions of one entry are judged by the state before it, whatever the parts before theirs do."""
    return patch.object(group_commit._Group, "take", take_any)


def take_any(self: group_commit._Group, waiting: group_commit.Waiting) -> bool:
    if PartKind.SEAL in (self.members[-1].part.kind, waiting.part.kind):
        return False
    self.members.append(waiting)
    self.size += waiting.size
    return True


def with_refused_parts_written() -> AbstractContextManager[Any]:
    """Who is told that a condition failed finds what he wrote all the same, for others shared the entry."""

    async def slot_for_all(self: CommitLog, waiting: list[Any]) -> int:
        slot, kept = await real(self, asked := list(waiting)), list(waiting)
        waiting[:] = kept if asked else []
        return slot

    real = CommitLog._slot_for
    return patch.object(CommitLog, "_slot_for", slot_for_all)


def with_bases_forgotten() -> AbstractContextManager[Any]:
    """Only the tail is asked what was touched since, though it began anew with a checkpoint."""

    def holds(state: Any, since: Any, keys: frozenset[str]) -> bool:
        return not state.closing and state.tail.touched_only_outside(keys, since.touched)

    return patch.object(conditional, "holds", holds)


def with_loads_unannounced() -> AbstractContextManager[Any]:
    """A load comes between the judgement of a condition and the write. Rare: see test_announced_load.py."""

    async def close_nothing(index: Any, segment: str) -> None:
        return

    return patch.object(load, "close", close_nothing)


def with_announcements_unheeded() -> AbstractContextManager[Any]:
    """The same, although it was announced."""
    return patch.object(IndexState, "closing", property(lambda self: []))


def with_loads_that_take_no_slot() -> AbstractContextManager[Any]:
    """It is announced, but a writer whose condition was judged before need not judge again."""
    append = CommitLog.append

    async def append_other(self: CommitLog, part: Any, condition: Any = None) -> Any:
        return None if part.kind is PartKind.NOTHING else await append(self, part, condition)

    return patch.object(CommitLog, "append", append_other)


def rewriting(plan: Plan) -> Plan:
    """Nodes that merge all the time, and many of all requests loads."""
    return replace(plan, nodes=4, clients=6, think=0.2, maintenance=0.3, loads=0.4, patience=60.0, duration=60.0)


def contended(plan: Plan) -> Plan:
    return replace(plan, nodes=4, clients=6, think=0.1, patience=60.0)


# ------------------------------------------------------------------ text fields


def with_text_fields_forgotten() -> AbstractContextManager[Any]:
    """A checkpoint has the text fields that the index was created with."""

    def encode_without(contents: Any) -> bytes:
        return encode_checkpoint(msgspec.structs.replace(contents, texts=None))

    return patch.object(flush, "encode_checkpoint", encode_without)


def with_fresh_fields_searched() -> AbstractContextManager[Any]:
    """A field is searched when the segments have it, though a flush that does not know it is under way."""
    configure = IndexState._configure

    def configure_at_once(self: IndexState, change: Any) -> Any:
        refusal = configure(self, change)
        self.fresh = frozenset()
        return refusal

    return patch.object(IndexState, "_configure", configure_at_once)


def with_dead_rows_counted() -> AbstractContextManager[Any]:
    """How rare a word is, is told from rows that are no more."""
    nobody = np.zeros(0, np.int64)
    return patch.object(text_leg.SegmentText, "count", lambda self: self._postings.statistics(self._lists, nobody))


# ------------------------------------------------------------------ the catalog


async def delete_name_first(self: IndexOperations, params: Any) -> Response:
    """The name goes before the log is sealed."""
    index = await self._find(params)
    await self._context.catalog.execute(DropIndex(index.index_id))
    await self._context.engine.seal(index.index_id, index.spec)
    return Response()


def is_garbage_seal_and_all(root: str, info: Any, newest: Any, named: Any) -> bool:
    """Nothing of a deleted index is kept, not even the checkpoint that holds its seal."""
    return newest.sealed or IS_GARBAGE(root, info, newest, named)


def without_finishing() -> AbstractContextManager[Any]:
    """A request that meets a sealed index answers that it is not there, and leaves its name."""

    async def on_index(self: Context, ref: Any, action: Any) -> Any:
        index = await self.catalog.cached_index(ref)
        try:
            return await action(index)
        except (IndexSealedError, ValidationError):
            now = await self.catalog.index(ref)
            if now.index_id == index.index_id:
                raise
        return await action(now)

    return patch.object(Context, "on_index", on_index)


def without_second_look() -> AbstractContextManager[Any]:
    """A name resolved long ago is believed: an index created anew under it is not found."""

    async def on_index(self: Context, ref: Any, action: Any) -> Any:
        return await action(await self.catalog.cached_index(ref))

    return patch.object(Context, "on_index", on_index)


def with_names_read_in_mid_replay() -> AbstractContextManager[Any]:
    """Names come from the catalog's machine as it stands. Rare: see test_phantom_index.py."""

    async def cached_index(self: Catalog, ref: Any) -> Any:
        return self._machine.state.index(ref.bucket, ref.index) or await self.index(ref)

    return patch.object(Catalog, "cached_index", cached_index)


def deletions(faults: Faults) -> Faults:
    return faults.but(crash=0.0, kill=0.0, pause=2.0, slow=0.05)


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


def come_and_go(faults: Faults) -> Faults:
    """Nodes that are killed all the time, and stand still while they open their indexes."""
    return Faults(stall=0.1, kill=10.0)


LAGGING = Bias(laggards, many_readers, min_age=0.0)
CLONING = Bias(scenarios.stalling_upkeep, crowded, min_age=0.0)


MUTANTS = [
    Mutant(
        "no read-back",
        "Icechunk #2099",
        without_read_back,
        scenarios.run_registers,
        Bias(lost_answers, busy),
        first=3,
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
        first=3,
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
        first=2,
    ),
    Mutant(
        "that no checkpoint follows is enough",
        "OSWALD's rule, half of it",
        lambda: patch.object(CheckpointStore, "holds", holds_unseen),
        scenarios.run_registers,
        LAGGING,
        first=25,
    ),
    Mutant(
        "a read forgets which commit it has to reflect",
        "a client does not see its own write on another node",
        with_reads_that_forget_the_commit,
        scenarios.run_engine,
        first=7,
    ),
    Mutant(
        "eventual reads lag behind without bound",
        "turbopuffer: up to about one hour",
        in_log("is_known", is_known_for_ever),
        scenarios.run_engine,
        first=69,
    ),
    Mutant(
        "what was read ahead is the answer",
        "a strong read misses what was acknowledged before",
        reading_ahead_for_good,
        scenarios.run_engine,
    ),
    Mutant(
        "what an opening holds is the newest checkpoint",
        "a hint that became the truth",
        with_openings_trusted,
        scenarios.run_engine,
        Bias(come_and_go, many_readers, min_age=0.0),
        first=8,
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
        first=68,
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
        first=21,
    ),
    Mutant(
        "host clock in garbage collection by age",
        "Icechunk #2310",
        in_garbage(_is_garbage=is_garbage_by_age, store_time=host_time),
        scenarios.run_engine,
        Bias(scenarios.stalling_upkeep, scenarios.many_maintainers, min_age=300.0),
        first=3,
    ),
    Mutant(
        "stale segment list after NotFound",
        "Chroma: an index shrank to its log's tail",
        with_stale_segment_lists,
        scenarios.run_engine,
        Bias(paused_readers, crowded, min_age=0.0),
        seeds=300,
        first=266,
    ),
    Mutant(
        "409 read as exists",
        "object_store #852",
        lambda: patch.object(segment_writer, "create_object", create_believing_409),
        scenarios.run_engine,
        Bias(conflicts, busy),
    ),
    Mutant(
        "garbage collection knows of no reservations",
        "a merge or load that lost a race names a segment that was collected",
        without_reservations,
        scenarios.run_engine,
        Bias(scenarios.stalling_upkeep, loading, min_age=0.0),
    ),
    Mutant(
        "a load leaves the tail's rows alone",
        "an overwritten row is found beside the loaded one",
        over_a_live_tail,
        scenarios.run_engine,
        Bias(plan=loading_over_tails),
    ),
    Mutant(
        "a load leaves older segments alone",
        "an overwritten row is found beside the loaded one",
        lambda: patch.object(load, "_supersede", lambda segments, reader: segments),
        scenarios.run_engine,
        Bias(plan=loading),
    ),
    Mutant(
        "a merge forgets what died meanwhile",
        "a deleted row comes back",
        without_moved_tombstones,
        scenarios.run_engine,
        Bias(scenarios.stalling_upkeep, scenarios.many_maintainers),
    ),
    Mutant(
        "conditions are not judged",
        "a deleted row comes back, a newer vector is overwritten",
        without_conditions,
        scenarios.run_conditional,
        Bias(plan=contended),
    ),
    Mutant(
        "conditions are judged once",
        "the write lands after what it should have seen",
        with_conditions_judged_once,
        scenarios.run_conditional,
        Bias(plan=contended),
        first=2,
    ),
    Mutant(
        "conditional writes share entries with whatever waits",
        "two clients put one key that was absent, and both are told that they did",
        with_entries_shared_by_all,
        scenarios.run_conditional,
        Bias(plan=contended),
        first=48,
    ),
    Mutant(
        "refused parts stay in the entry that others share",
        "a write that was said to have failed shows",
        with_refused_parts_written,
        scenarios.run_conditional,
        Bias(plan=contended),
        first=30,
    ),
    Mutant(
        "conditions forget what the tail began with",
        "a flush hides what was touched",
        with_bases_forgotten,
        scenarios.run_conditional,
        Bias(plan=contended),
        first=2,
    ),
    Mutant(
        "checkpoints forget changes of text fields",
        "a field that was added cannot be searched, one that was deleted comes back",
        with_text_fields_forgotten,
        scenarios.run_texts,
    ),
    Mutant(
        "text fields are searched at once",
        "a search that worked is refused",
        with_fresh_fields_searched,
        scenarios.run_texts,
        Bias(scenarios.stalling_upkeep, rewriting),
        first=34,
    ),
    Mutant(
        "dead rows count in searches by text",
        "scores that change with a merge",
        with_dead_rows_counted,
        scenarios.run_texts,
        first=5,
    ),
    Mutant(
        "the name goes before the seal",
        "a node with a stale name writes into an index that nobody can find",
        lambda: patch.object(IndexOperations, "delete", delete_name_first),
        scenarios.run_catalog,
        Bias(deletions, busy),
        first=1,
    ),
    Mutant(
        "the sealed checkpoint is collected too",
        "a writer that stalled before the deletion begins the log again",
        in_garbage(_is_garbage=is_garbage_seal_and_all),
        scenarios.run_catalog,
        Bias(deletions, busy, min_age=0.0),
        first=1,
    ),
    Mutant(
        "a deletion that was cut short stays so",
        "not found by one request, in the way of the next",
        without_finishing,
        scenarios.run_catalog,
        Bias(lost_answers, busy),
        first=2,
    ),
    Mutant(
        "a stale name is believed",
        "the deleted incarnation answers for the new one",
        without_second_look,
        scenarios.run_catalog,
        Bias(deletions, busy),
        first=10,
    ),
    Mutant(
        "garbage collection knows of no pins",
        "a snapshot or a clone reads segments that were collected",
        clone_mutants.with_pins_unknown_to_collection,
        scenarios.run_clones,
        CLONING,
        first=7,
    ),
    Mutant(
        "a snapshot is taken before the flush",
        "acknowledged writes are not in it",
        clone_mutants.with_snapshots_before_the_flush,
        scenarios.run_clones,
        CLONING,
        first=22,
    ),
    Mutant(
        "a clone comes before its pin",
        "its segments are collected in between",
        clone_mutants.with_the_pin_after_the_clone,
        scenarios.run_clones,
        CLONING,
        first=22,
    ),
    Mutant(
        "a late clone's pin is dropped and its place not taken",
        "a maker that stalled completes a clone of what was collected",
        clone_mutants.with_overdue_clones_not_kept_from_coming,
        scenarios.run_clones,
        CLONING,
        first=18,
    ),
    Mutant(
        "a nameless clone is deleted without asking the catalog",
        "it gets its name at the same moment, and is acknowledged",
        clone_mutants.with_nameless_clones_deleted_at_sight,
        scenarios.run_clones,
        CLONING,
        first=18,
    ),
    Mutant(
        "a deleted index keeps no pins",
        "it takes with it what its clones read",
        clone_mutants.with_pins_buried,
        scenarios.run_clones,
        CLONING,
        first=48,
    ),
    Mutant(
        "a clone keeps nothing for its own clones",
        "a clone of a clone loses the first one's source",
        clone_mutants.with_clones_of_clones_unknown_to_release,
        scenarios.run_clones,
        CLONING,
        seeds=1500,
        first=906,
    ),
]
