"""Passes judgement on a run of the catalog: by the history alone, and by every log object ever created."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quiver.format import checkpoint as checkpoint_format
from quiver.format import paths
from quiver.format.envelope import Kind as EnvelopeKind
from quiver.format.envelope import decode
from quiver.format.log_entry import PartKind
from quiver.service import catalog_commands
from quiver.service.catalog_commands import CreateIndex, DropIndex
from quiver.service.catalog_state import CatalogState
from simulation import vectors
from simulation.checkers import linearizability
from simulation.checkers.history import UNKNOWN, Violation, by_key
from simulation.judge import SEARCH_BUDGET

if TYPE_CHECKING:
    from simulation.catalog_history import CatalogHistory, Creation, Deletion, Misfit, Name, Read, Write
    from simulation.clone_history import CloneHistory
    from simulation.store import Backing


@dataclass
class Incarnation:
    """One index, by whatever name: when it came into the catalog, was sealed, and left the catalog.

    Attributes:
        attempt: the number its creator gave it.
        states: values by key at each commit before the seal.
        written: the commit, and its time, of every value put before the seal.
    """

    name: Name
    index_id: str
    attempt: int
    dimension: int
    created: float
    dropped: float = UNKNOWN
    sealed: float = UNKNOWN
    states: dict[int, dict[str, int]] = field(default_factory=lambda: {0: {}})
    written: dict[int, tuple[int, float]] = field(default_factory=dict)

    @property
    def gone(self) -> float:
        """From when on it took no reads and writes."""
        return min(self.sealed, self.dropped)

    def lives(self, call: float, end: float) -> bool:
        """Whether it took reads and writes at some moment of a time."""
        return self.created <= end and self.gone >= call


def incarnations(backing: Backing) -> list[Incarnation]:
    """Every index that ever was, from the logs."""
    found = named(backing)
    for index in found:
        replay(backing, index, {})
    return found


def named(backing: Backing) -> list[Incarnation]:
    """Every index that ever had a name, and when, from the catalog's log."""
    state = CatalogState()
    found: dict[str, Incarnation] = {}
    for slot, parts in vectors.entries(backing, paths.CATALOG_ROOT, paths.CATALOG_OWNER):
        time = backing.log_time[paths.log_key(paths.CATALOG_ROOT, slot)]
        for part in parts:
            command = catalog_commands.decode(part.body)
            if state.apply(command) is not None:
                continue
            if isinstance(command, CreateIndex):
                attempt = int(command.spec.non_filterable[0].removeprefix("attempt-"))
                name, dimension = (command.bucket, command.index), command.spec.dimension
                found[command.index_id] = Incarnation(name, command.index_id, attempt, dimension, time)
            elif isinstance(command, DropIndex):
                found[command.index_id].dropped = time
    return list(found.values())


def replay(backing: Backing, index: Incarnation, values: dict[str, int]) -> None:
    """Fill in what the index's own log makes of the values it began with, up to its seal."""
    root = paths.index_root(index.index_id)
    index.states[0] = values
    for slot, parts in vectors.entries(backing, root, index.index_id):
        if any(part.kind is PartKind.SEAL for part in parts):
            index.sealed = backing.log_time[paths.log_key(root, slot)]
            return
        time = backing.log_time[paths.log_key(root, slot)]
        for part in parts:
            values = dict(vectors.after_part(values, part, index.dimension))
            put = vectors.after_part({}, part, index.dimension)
            index.written.update(dict.fromkeys(put.values(), (slot, time)))
        index.states[slot] = values


def judge_catalog(history: CatalogHistory, backing: Backing) -> Counter[str]:
    """Raises Violation; returns how many checks of each sort were made."""
    done = check_operations(history)
    indexes = incarnations(backing)
    for creation in history.creations:
        check_creation(creation, indexes)
    done += check_use(history, indexes)
    done["placed creations"] += len(history.creations) + len(history.deletions)
    for index in indexes:
        if index.dropped != UNKNOWN:
            check_remains(index, backing)
            done["dropped indexes"] += 1
    return done


def check_use(history: CatalogHistory | CloneHistory, indexes: list[Incarnation]) -> Counter[str]:
    """What was done with indexes under their names, until they were deleted; how many checks were made."""
    for deletion in history.deletions:
        check_deletion(deletion, indexes)
    for write in history.writes:
        check_write(write, indexes)
    for read in history.reads:
        check_read(read, indexes)
    for misfit in history.misfits:
        check_misfit(misfit, indexes)
    check_refused(history, indexes)
    return Counter({"replayed snapshots": len(history.reads), "placed writes": len(history.writes)})


def check_operations(history: CatalogHistory) -> Counter[str]:
    """Each name, and each key under a name, is a linearizable register across all incarnations."""
    done: Counter[str] = Counter()
    for register, operations in by_key(history.operations).items():
        verdict = linearizability.is_linearizable(operations, SEARCH_BUDGET)
        if verdict is False:
            raise Violation(f"linearizability of {register}: no order explains {len(operations)} operations")
        done["linearizable keys" if verdict else "undecided keys"] += 1
    return done


def check_creation(creation: Creation, indexes: list[Incarnation]) -> None:
    """It happened once, in the time of the request; what was seen was there."""
    index = next((each for each in indexes if each.attempt == creation.attempt), None)
    if index is None or (index.name, index.dimension) != (creation.name, creation.dimension):
        raise Violation(f"{creation} is not in the catalog's log")
    if creation.created and not creation.call <= index.created <= creation.end:
        raise Violation(f"{creation} took place at {index.created}")
    if index.created > creation.end or index.dropped < creation.call:
        raise Violation(f"{creation} was seen, but lived from {index.created} to {index.dropped}")


def check_deletion(deletion: Deletion, indexes: list[Incarnation]) -> None:
    """An index of that name went in the time of the request, and was sealed before."""
    gone = [each for each in indexes if each.name == deletion.name]
    if not any(each.sealed <= each.dropped and deletion.call <= each.dropped <= deletion.end for each in gone):
        raise Violation(f"{deletion}, but indexes went at {[each.dropped for each in gone]}")


def check_write(write: Write, indexes: list[Incarnation]) -> None:
    """It is in one index of that name, at its commit, while that had the name."""
    holders = [each for each in indexes if write.value in each.written]
    if len(holders) != 1 or holders[0].name != write.name:
        raise Violation(f"{write} went to {[(each.name, each.index_id) for each in holders]}")
    slot, time = holders[0].written[write.value]
    if slot != write.commit or not write.call <= time <= write.end:
        raise Violation(f"{write} took place at commit {slot}, {time}")
    if not holders[0].created <= time <= holders[0].dropped:
        raise Violation(f"{write} went to an index that had the name until {holders[0].dropped} only")


def check_read(read: Read, indexes: list[Incarnation]) -> None:
    """One index of that name, open in the time of the read, was exactly so at that commit."""
    for index in indexes:
        if index.name != read.name or not index.lives(read.call, read.end) or read.commit not in index.states:
            continue
        due = {key: value for key, value in index.states[read.commit].items() if key in read.scope}
        if due == read.values and (read.dimension in (None, index.dimension)):
            return
    raise Violation(f"{read} is what no index of that name ever was")


def check_misfit(misfit: Misfit, indexes: list[Incarnation]) -> None:
    """An index of the name and of another dimension was there."""
    if not any(
        index.name == misfit.name
        and index.dimension != misfit.dimension
        and index.created <= misfit.end
        and index.dropped >= misfit.call
        for index in indexes
    ):
        raise Violation(f"{misfit}, but no index of another dimension had the name then")


def check_refused(history: CatalogHistory, indexes: list[Incarnation]) -> None:
    """What was refused never happened."""
    attempts = {index.attempt for index in indexes}.intersection(history.refused_attempts)
    values = {value for index in indexes for value in index.written}.intersection(history.refused_values)
    if attempts or values:
        raise Violation(f"refused, but done: creations {sorted(attempts)}, puts {sorted(values)}")


def check_remains(index: Incarnation, backing: Backing) -> None:
    """A dropped index has been collected down to its last checkpoint, which is sealed and names nothing."""
    root = paths.index_root(index.index_id)
    left = sorted(key for key in backing.objects if key.startswith(root))
    if [paths.classify(root, key).kind for key in left if key != paths.published_key(root)] != ["checkpoint"]:
        raise Violation(f"of a dropped index is left: {left}")
    _, payload = decode(EnvelopeKind.CHECKPOINT, left[0], index.index_id, backing.objects[left[0]].body)
    last = checkpoint_format.decode(left[0], payload)
    if not last.sealed or last.state:
        raise Violation(f"the last checkpoint of a dropped index is not sealed, or names segments: {left[0]}")
