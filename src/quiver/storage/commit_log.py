"""The commit log: a state machine replicated through put-if-absent slots, with no coordinator.

An entry is committed when its slot's object is created and no checkpoint had passed that slot before. Slots are
filled in order; whoever creates slot n+1 first has it. The rules, and the bug elsewhere that each prevents, are
in docs/architecture.md, "Commit protocol"; in short:

* An attempt to fill a slot is repeated with the same bytes until the slot is known to hold somebody's entry.
  Whether it is ours is decided by replaying the log and looking into the session table, never by the answer to
  the put alone.
* The end of the log is a missing slot, provided that the checkpoint the replay started from is still the newest:
  else garbage collection may have removed the slot, and a late put may have filled it again. Collection removes no
  entry past a checkpoint that is still there, and no checkpoint before its predecessor is gone, so three small
  requests tell: the slot and the next checkpoint are missing, and after that the checkpoint itself is still there.
  Only who has no checkpoint that is known to have been the newest has to list them.
* Who opens a log may take a copy of the newest checkpoint from the index's opening (opening_store.py), which comes
  with the listing. It is a guess until the first bytes of the checkpoint itself have been compared with those of
  the copy: then the checkpoint counts as read, no sooner than that, and all the rest follows as without a copy.
* The session table (last sequence applied, by writer) rides in every checkpoint, so that an entry applies once.
* Writers never delete.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from msgspec.structs import replace

from quiver.format import log_entry, paths
from quiver.format.checkpoint import Checkpoint, Session
from quiver.format.envelope import Identity, Kind, Payload, decode, encode, make_payload
from quiver.format.log_entry import Part, PartKind
from quiver.model.errors import DataError, MissingObjectError, OutcomeUnknownError, QuiverError
from quiver.objectstore.store import (
    ObjectExistsError,
    ObjectNotFoundError,
    StoreRefusedError,
    StoreUnavailableError,
)
from quiver.storage.checkpoint_store import CheckpointStore
from quiver.storage.group_commit import Commit, ConditionFailedError, GroupCommit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from quiver.format.paths import ObjectName
    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectInfo, ObjectStore
    from quiver.storage.checkpoint_store import StoredCheckpoint
    from quiver.storage.group_commit import Condition, Waiting
    from quiver.storage.opening_store import OpeningStore

    Entry = tuple[Identity, list[Part]]


T = TypeVar("T")

_AHEAD_SLOTS, _AHEAD_BYTES = 64, 64 << 20  # of entries that are read at once; one entry is read whatever its size
_FOLLOWING_SLOTS = 16  # the same when it is not known how many there are

# Seconds before the next slot is tried by a writer that lost one. Short, because who waits long keeps losing to a
# writer that does not; growing a little, because each attempt of many writers costs the store a put.
_LOST_DELAY, _LONGEST_LOST_DELAY = 0.004, 0.064
_INLINE_BYTES = 256 << 10  # below this a digest costs less than a change of thread


class LogSealedError(QuiverError):
    """The log took its last entry."""


class Machine(ABC):
    """What a log replays into. Deterministic and synchronous; called in slot order."""

    @abstractmethod
    def restore(self, checkpoint: Checkpoint | None) -> None:
        """Forget everything and stand at the checkpoint; None is the empty state at slot 0."""

    @abstractmethod
    def apply(self, slot: int, part: Part) -> Any:
        """Apply one part; the answer (None or a msgpack value) goes to whoever appended it."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Plain values of a commit log.

    Attributes:
        group_bytes: a group commit takes parts up to this size together.
        queue_bytes: parts waiting beyond this are refused with BusyError.
        deadline: seconds an append waits before its outcome is reported as unknown.
        session_slots: writers silent for this many slots leave the session table.
        first_delay: seconds before the first repetition of a failed put.
    """

    group_bytes: int = 16 << 20
    queue_bytes: int = 128 << 20
    deadline: float = 30.0
    session_slots: int = 4096
    first_delay: float = 0.02


@dataclass(frozen=True, slots=True)
class _Observer:
    capture: Callable[[], Any]
    future: asyncio.Future[Any]

    def run(self) -> None:
        if not self.future.done():
            try:
                self.future.set_result(self.capture())
            except Exception as error:  # noqa: BLE001 - the capture's own error is its caller's
                self.future.set_exception(error)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class _End(NamedTuple):
    """Where a log may end, and the names that tell: of the base, and of what would follow. Same for many reads."""

    slot: int
    base: int
    checkpoint: str
    next_keys: tuple[str, str]

    @classmethod
    def of(cls, root: str, slot: int, base: int) -> _End:
        """At this slot, over the checkpoint `base`. An entry is looked for before a checkpoint."""
        next_keys = paths.log_key(root, slot + 1), paths.checkpoint_key(root, base + 1)
        return cls(slot, base, paths.checkpoint_key(root, base), next_keys)


def _affordable(slots: Sequence[int], sizes: Mapping[int, int]) -> list[int]:
    """The first of the slots, as many as may be read at once."""
    taken: list[int] = []
    nbytes = 0
    for slot in slots[:_AHEAD_SLOTS]:
        nbytes += sizes.get(slot, 0)
        if taken and nbytes > _AHEAD_BYTES:
            break
        taken.append(slot)
    return taken


class CommitLog:
    """One node's view of one log, and its writer.

    Attributes:
        slot: the last entry applied to the machine.
        base: generation of the checkpoint that the machine was restored from; 0 for none.
        base_slot: the slot of that checkpoint.
        sealed: the log takes no more entries.
    """

    def __init__(
        self,
        store: ObjectStore,
        runtime: Runtime,
        root: str,
        owner: str,
        machine: Machine,
        settings: LogSettings | None = None,
        opening: OpeningStore | None = None,
    ) -> None:
        self.slot = 0
        self.base = 0
        self.base_slot = 0
        self.sealed = False
        self.checkpoints = CheckpointStore(store, runtime, root, owner)
        self._store = store
        self._near = store.near
        self._runtime = runtime
        self._root = root
        self._owner = owner
        self._machine = machine
        self._settings = settings or LogSettings()
        self._opening = opening
        self._base_checkpoint: Checkpoint | None = None
        self._base_head = b""
        self._proven = False  # the checkpoint underneath was the newest at some time after it was read
        self._sessions: dict[str, Session] = {}
        self._horizon = 0
        self._opened = False
        self._settled = False  # nothing in the machine awaits proof that it was not collected
        self._checked = -math.inf  # when the last check began that the machine was up to date
        self._end = _End.of(root, 0, 0)
        self._replay_lock = asyncio.Lock()
        self._observers: list[_Observer] = []
        self._on_opening: list[Callable[[], None]] = []
        self._writer = runtime.new_id()
        self._sequence = 0
        self._uncertain = 0  # the slot that a put of ours may still fill
        self._group = GroupCommit(
            runtime,
            group_bytes=self._settings.group_bytes,
            queue_bytes=self._settings.queue_bytes,
            deadline=self._settings.deadline,
        )

    # ---------------------------------------------------------------- reading

    async def refresh(self) -> int:
        """Bring the machine to a state no older than any commit acknowledged before this call; its slot."""
        return await self.observe(lambda: self.slot)

    @property
    def opened(self) -> bool:
        """Whether the machine stands anywhere."""
        return self._opened

    def is_known(self, seconds: float) -> bool:
        """Whether the machine may be read as it stands by who may miss what was acknowledged so recently."""
        return self._settled and self._runtime.monotonic() - self._checked < seconds

    async def observe(self, capture: Callable[[], T], on_opening: Callable[[], None] | None = None) -> T:
        """Call `capture` at an instant when the machine reflects every commit acknowledged before this call.

        Only then may answers come from the machine: in the middle of a replay it may hold what a late put left in
        a slot that was collected. Calls share work: one that arrives during a replay joins the next replay.

        Args:
            on_opening: called before that, when the machine stands for the first time where it probably will, and
                perhaps once more, when it has moved on; not at all when it stood somewhere before.

        Raises StoreUnavailableError, DataError.
        """
        if on_opening is not None and not self._opened:
            self._on_opening.append(on_opening)
        if not self._observers and not self._replay_lock.locked():  # nobody to share with: no task is needed
            await self._replay_lock.acquire()  # costs half of `async with`
            try:
                await self._replay()
                return capture()
            finally:
                self._replay_lock.release()
        observer = _Observer(capture, asyncio.get_running_loop().create_future())
        self._observers.append(observer)
        if len(self._observers) == 1:
            self._runtime.spawn(self._replay_for_observers(), "replay")
        result: T = await observer.future
        return result

    async def _replay_for_observers(self) -> None:
        async with self._replay_lock:
            observers, self._observers = self._observers, []
            try:
                await self._replay()
            except Exception as error:  # noqa: BLE001 - whatever it was, the callers are told
                for observer in observers:
                    observer.fail(error)
                return
            for observer in observers:
                observer.run()

    async def _replay(self) -> None:
        """Apply entries until the true end of the log. The caller holds the replay lock."""
        began = self._runtime.monotonic()
        if not self._opened:
            await self._open()
            self._opened = True
            while self._on_opening:
                self._on_opening.pop()()
            ended = not await self._restore_newer()
        else:
            ended = await self._reach_end()
        while not ended:
            ended = await self._reach_end()
        self._settled, self._checked = True, began

    async def _reach_end(self) -> bool:
        """Read on until an entry is missing; whether that is the true end, else the machine stands elsewhere."""
        if self._near and self._proven and await self._stands_last():  # one after the other is quicker here
            return True
        followed = await self._follow()
        if not followed and self._proven and await self.checkpoints.holds(self.base, self._base_head):
            return True
        return not await self._restore_newer()

    def _stands_last(self) -> Awaitable[bool]:
        """What `_follow` and `holds` tell when nothing happened, in one call: whether no entry and no checkpoint
        follows, and after that the base is still there."""
        if self._end.slot != self.slot or self._end.base != self.base:
            self._end = _End.of(self._root, self.slot, self.base)
        return self._store.stands(self._end.checkpoint, self._base_head, self._end.next_keys)

    async def _follow(self) -> bool:
        """Apply entries until one is missing; whether a checkpoint is known to follow the base.

        That none does is asked no earlier than when the last entry had been read: who sees an entry must not miss
        a load that was published before it.
        """
        if self._near:  # asking one after the other is quicker than asking at once
            while not self.sealed and (entry := await self._read(self.slot + 1)) is not None:
                self._apply_all([entry])
            return await self._is_followed()
        width = 1
        while True:
            slots = () if self.sealed else range(self.slot + 1, self.slot + 1 + width)
            followed, entries = await asyncio.gather(self._is_followed(), self._read_all(slots))
            if followed or not entries or entries[0] is None:
                return followed
            self._apply_all(entries)
            width = min(2 * width, _FOLLOWING_SLOTS)

    async def _is_followed(self) -> bool:
        return self._proven and await self.checkpoints.has(self.base + 1)

    async def _restore_newer(self) -> bool:
        """Start again from a checkpoint newer than the one the machine stands on, if there is one.

        Even when its slot lies behind ours: slots up to it may have been collected and filled again by a
        late put, so what was read there cannot be trusted.
        """
        newest = await self.checkpoints.newest(self.base)
        if newest is None:
            self._proven = self.base > 0
            return False
        try:
            stored = await self.checkpoints.read(newest)
        except ObjectNotFoundError:
            return True  # a still newer one replaced it: look again
        self._restore(stored)
        return True

    # ---------------------------------------------------------------- opening

    async def _open(self) -> None:
        """Stand at the newest checkpoint and replay what a listing shows, reading ahead, to the end of the log."""
        listed, copy = await asyncio.gather(self._store.list(self._root), self._copy())
        while not await self._open_at(listed, copy):
            listed, copy = await self._store.list(self._root), None

    async def _copy(self) -> StoredCheckpoint | None:
        """A copy of some checkpoint, when there is one and somebody waits who could begin with it."""
        return await self._opening.read() if self._opening is not None and self._on_opening else None

    async def _open_at(self, listed: Sequence[ObjectInfo], copy: StoredCheckpoint | None) -> bool:
        """The same with a listing; False when another is needed, because a newer checkpoint has come.

        A listing that shows entries or segments past a slot that is gone, with no newer checkpoint to explain
        it, means that data is lost.
        """
        names = [(paths.classify(self._root, info.key), info.size) for info in listed]
        newest = max((name.generation for name, _ in names if name.kind == "checkpoint"), default=0)
        if not newest and any(name.kind == "published" for name, _ in names):
            if await self.checkpoints.newest(0) is None:
                raise MissingObjectError(f"{self._root}: a checkpoint was published, and there is none")
            return False
        try:
            await self._stand_on(newest, names, self._guessed(newest, copy))
        except ObjectNotFoundError:
            return False  # a newer one replaced it
        used = max((name.slot for name, _ in names), default=0)
        if self.slot >= used or self.sealed:
            return True
        if await self._read(self.slot + 1) is None and await self.checkpoints.newest(newest) is None:
            raise MissingObjectError(f"{self._root}: the log ends at slot {self.slot}, but {used} was used")
        return False

    def _guessed(self, newest: int, copy: StoredCheckpoint | None) -> StoredCheckpoint | None:
        """The copy, restored, if it says that it is of the newest checkpoint; searches may begin with it."""
        if copy is None or copy.checkpoint.generation != newest:
            return None
        try:
            self._restore(copy)
        except DataError:
            return None  # if the checkpoint itself is as bad, whoever reads it will say so
        for begin in self._on_opening:
            begin()
        self._runtime.reach("log:guessed")
        return copy

    async def _stand_on(
        self, newest: int, names: Sequence[tuple[ObjectName, int]], guessed: StoredCheckpoint | None
    ) -> None:
        """Restore a listed checkpoint (0 for none) unless it was guessed, and apply what comes after it.

        Together with the checkpoint the latest entries are read, as far as segments do not tell that it holds
        them, and the slot after the last one. Raises ObjectNotFoundError when the checkpoint is gone, or not what
        was guessed.
        """
        held = max((n.slot for n, _ in names if n.kind == "segment" and n.generation <= newest), default=0)
        held = max(held, guessed.checkpoint.slot if guessed else 0)
        sizes = {name.slot: size for name, size in names if name.kind == "log" and name.slot > held}
        last = max(sizes, default=held)
        early = [last + 1, *_affordable(sorted(sizes, reverse=True), sizes)]
        stored, entries = await asyncio.gather(self._stored(newest, guessed), self._read_all(early))
        if guessed is None:
            self._restore(stored)
        known = dict(zip(early, entries, strict=True))
        while self.slot < last and not self.sealed:
            slots = _affordable(range(self.slot + 1, last + 1), sizes)
            unread = [slot for slot in slots if slot not in known]
            known.update(zip(unread, await self._read_all(unread), strict=True))
            if not self._apply_all([known[slot] for slot in slots]):
                return
        if known.get(self.slot + 1, self) is not None:  # the end is further on than the listing showed
            await self._follow()

    async def _stored(self, generation: int, guessed: StoredCheckpoint | None) -> StoredCheckpoint | None:
        """The checkpoint that has this name now: read, or found to be the very one that was guessed."""
        if guessed is not None:
            if not await self.checkpoints.holds(generation, guessed.head):
                raise ObjectNotFoundError(paths.checkpoint_key(self._root, generation))
            return guessed
        return await self.checkpoints.read(generation) if generation else None

    # ---------------------------------------------------------------- entries

    async def _read_all(self, slots: Sequence[int]) -> list[Entry | None]:
        return await asyncio.gather(*map(self._read, slots))

    async def _read(self, slot: int) -> Entry | None:
        key = paths.log_key(self._root, slot)
        try:
            data = await self._store.get(key)
        except ObjectNotFoundError:
            return None
        identity, payload = decode(Kind.LOG_ENTRY, key, self._owner, data)
        return identity, log_entry.decode(key, payload)

    def _restore(self, stored: StoredCheckpoint | None) -> None:
        checkpoint = stored.checkpoint if stored else None
        self._settled = False
        self._machine.restore(checkpoint)
        self._base_checkpoint = checkpoint
        self._base_head = stored.head if stored else b""
        self._proven = False
        self.base = checkpoint.generation if checkpoint else 0
        self.base_slot = self.slot = checkpoint.slot if checkpoint else 0
        self.sealed = checkpoint.sealed if checkpoint else False
        self._sessions = dict(checkpoint.sessions) if checkpoint else {}
        self._horizon = checkpoint.horizon if checkpoint else 0

    def _apply_all(self, entries: Sequence[Entry | None]) -> bool:
        """Apply the next entries until one is missing; whether all were there."""
        for entry in entries:
            if entry is None or self.sealed:
                return False
            self._settled = False
            self._apply(self.slot + 1, *entry)
        return True

    def _apply(self, slot: int, identity: Identity, parts: list[Part]) -> None:
        session = self._sessions.get(identity.writer)
        if session is None or session.sequence < identity.sequence:
            results = [self._machine.apply(slot, part) for part in parts]
            self._sessions[identity.writer] = Session(identity.sequence, slot, results)
            self.sealed = self.sealed or any(part.kind == PartKind.SEAL for part in parts)
        self.slot = slot

    # ---------------------------------------------------------------- writing

    async def append(self, part: Part, condition: Condition | None = None) -> Commit:
        """Commit one part, together with others that wait at the same time.

        Args:
            condition: looks at the machine; the part is committed only if it holds in the state that all entries
                before it make.

        Raises:
            ConditionFailedError: not committed, and never will be, because the condition did not hold.
            LogSealedError: not committed, and never will be.
            StoreRefusedError: the same, because the store refused.
            BusyError: the same, because too much is waiting.
            OutcomeUnknownError: committed, not yet, or never; it goes on being resolved in the background.
            StoreUnavailableError, DataError: committed or not; the store failed while that was found out.
        """
        return await self._group.append(part, self._commit, condition)

    async def _commit(self, waiting: list[Waiting]) -> Session | None:
        """Fill slots until the session table shows our entry. Parts whose condition fails are refused on the way.

        An attempt that was lost is known to be nowhere in the log, so the next may have fewer parts.
        """
        self._sequence += 1
        parts = [each.part for each in waiting]
        payload = await self._digest(log_entry.encode(parts))
        if not self._opened:
            await self.refresh()
        delay = _LOST_DELAY
        while True:
            if self.sealed and await self.observe(lambda: self.sealed):
                raise LogSealedError(self._root)
            slot = await self._slot_for(waiting)
            if not waiting:
                return None
            if len(waiting) < len(parts):
                parts = [each.part for each in waiting]
                payload = await self._digest(log_entry.encode(parts))
            identity = Identity(paths.log_key(self._root, slot), self._owner, self._writer, self._sequence)
            created = await self._fill(slot, identity, payload)
            self._runtime.reach("log:filled")
            await self._settle(slot, identity, parts, created=created)
            session = self._sessions.get(self._writer)
            if session is not None and session.sequence == self._sequence:
                self._runtime.reach("log:committed")
                return session
            if slot < self._horizon:
                self._writer = self._runtime.new_id()  # the table no longer tells about this one
                raise OutcomeUnknownError("The write was overtaken while it stalled; it may have been applied")
            await self._runtime.sleep(delay * self._runtime.random())
            delay = min(2 * delay, _LONGEST_LOST_DELAY)

    async def _slot_for(self, waiting: list[Waiting]) -> int:
        """The slot after a state in which the conditions hold: what is created there comes right after that state.

        Parts whose condition does not hold are refused, and taken out. The state has to be one that answers may
        come from: in the middle of a replay it may show what never was.
        """

        def judge() -> int:
            kept = []
            for each in waiting:
                if each.condition is None or each.condition.holds():
                    kept.append(each)
                else:
                    each.refuse(ConditionFailedError(self._root))
            waiting[:] = kept
            return self.slot + 1

        if self._settled or all(each.condition is None for each in waiting):
            return judge()
        return await self.observe(judge)

    async def _digest(self, buffers: list[bytes | memoryview]) -> Payload:
        if sum(map(len, buffers)) < _INLINE_BYTES:
            return make_payload(buffers)
        return await self._runtime.offload(make_payload, buffers)

    async def _fill(self, slot: int, identity: Identity, payload: Payload) -> bool:
        """Put until the slot is known to hold somebody's entry; True when our put created it just now."""
        body = encode(Kind.LOG_ENTRY, identity, payload)
        delay = self._settings.first_delay
        while self.slot < slot:  # a replay elsewhere may pass the slot meanwhile: then its holder is known
            self._runtime.reach("log:before_put")
            try:
                await self._store.put_new(identity.key, body)
            except ObjectExistsError:
                return False
            except StoreRefusedError:
                if self._uncertain != slot:
                    raise
            except StoreUnavailableError:
                self._uncertain = slot
            else:
                return True
            await self._runtime.sleep(delay * (0.5 + self._runtime.random()))
            delay = min(2 * delay, 1.0)
        return False

    async def _settle(self, slot: int, identity: Identity, parts: list[Part], *, created: bool) -> None:
        """Bring the machine past the slot. An entry we created counts only if the slot had not been collected."""
        async with self._replay_lock:
            began = self._runtime.monotonic()
            if created and self.slot == slot - 1 and await self._stands():
                self._apply(slot, identity, parts)
                self._settled, self._checked = True, began
            else:
                await self._replay()

    async def _stands(self) -> bool:
        """Whether no slot past the base had been collected before this call, and no checkpoint follows the base.

        The latter only so that a writer that never reads learns of checkpoints.
        """
        if not self._proven:
            return not await self._restore_newer()
        held = self.checkpoints.holds(self.base, self._base_head)
        if self._near:
            return await held and not await self._is_followed()
        there, followed = await asyncio.gather(held, self._is_followed())
        return there and not followed

    # ---------------------------------------------------------------- checkpoints

    def draft_checkpoint(self, state: bytes) -> Checkpoint:
        """A checkpoint of the machine's present `state`. Call it within `observe`."""
        horizon = max(self._horizon, self.slot - self._settings.session_slots)
        sessions = {writer: s for writer, s in self._sessions.items() if s.slot >= horizon}
        return Checkpoint(self.base + 1, self.slot, self.sealed, sessions, horizon, state)

    def redraft_checkpoint(self, state: bytes) -> Checkpoint:
        """The checkpoint underneath, again, with another `state`. Call it within `observe`."""
        if self._base_checkpoint is None:
            return Checkpoint(1, 0, False, {}, 0, state)
        return replace(self._base_checkpoint, generation=self.base + 1, state=state)

    async def publish_checkpoint(self, checkpoint: Checkpoint) -> bool:
        """Create it; False when another node made one from the same base first. Raises StoreRefusedError."""
        return await self.checkpoints.create(checkpoint, self._writer)
