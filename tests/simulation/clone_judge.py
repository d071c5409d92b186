"""Passes judgement on snapshots and clones, by every log entry and checkpoint ever created.

`Watch` looks on while a run goes: no object goes that a newest checkpoint names, of whichever index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from quiver.engine.native.state import contents_of
from quiver.format import checkpoint as checkpoint_format
from quiver.format import paths
from quiver.format.envelope import Kind as EnvelopeKind
from quiver.format.envelope import decode
from simulation.catalog_judge import Incarnation, check_use, named, replay
from simulation.checkers.history import UNKNOWN, Violation

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from quiver.engine.native.state import IndexCheckpoint, Pin
    from simulation.catalog_history import Name
    from simulation.clone_history import Cloned, CloneHistory, Missed, Seen, Taken
    from simulation.store import Backing


class Generation(NamedTuple):
    """What a checkpoint held, and from when to when it was the newest."""

    contents: IndexCheckpoint | None
    start: float
    end: float

    def snapshot(self, name: str) -> Pin | None:
        pins = self.contents.pins if self.contents else []
        return next((pin for pin in pins if pin.name == name and not pin.holder), None)


class Watch:
    """Keeps a store from removing an object unnoticed that a newest checkpoint names."""

    def __init__(self, backing: Backing) -> None:
        self._backing = backing
        self._remove = backing.remove
        self.lost: list[str] = []
        backing.remove = self.remove  # type: ignore[method-assign]

    def remove(self, key: str) -> None:
        if key in self._backing.objects and "/segment/" in key:
            segment = key.split("/")[3]
            for holder in newest_checkpoints(self._backing):
                body = self._backing.objects[holder].body
                if segment.encode() in body and segment in named_by(holder, body):
                    self.lost.append(f"{key}, which {holder} names")
        self._remove(key)


def newest_checkpoints(backing: Backing) -> Iterator[str]:
    newest: dict[str, str] = {}
    for key in backing.objects:
        index_id = paths.index_of(key)
        if index_id is not None and key.startswith(paths.checkpoint_prefix(paths.index_root(index_id))):
            newest[index_id] = max(key, newest.get(index_id, ""))
    return iter(newest.values())


def named_by(key: str, body: bytes) -> set[str]:
    """The segments of an index and of everything pinned there; not those that it only reserves."""
    contents = contents_in(key, body)
    if contents is None:
        return set()
    return {ref.id for refs in (contents.segments, *(pin.segments for pin in contents.pins)) for ref in refs}


def contents_in(key: str, body: bytes) -> IndexCheckpoint | None:
    index_id = paths.index_of(key)
    _, payload = decode(EnvelopeKind.CHECKPOINT, key, str(index_id), body)
    return contents_of(checkpoint_format.decode(key, payload))


def chain(backing: Backing, index_id: str) -> list[Generation]:
    """Every checkpoint of an index that counted. What was created later under the name of one did not."""
    root = paths.index_root(index_id)
    keys = sorted(key for key in backing.first if key.startswith(paths.checkpoint_prefix(root)))
    if [paths.classify(root, key).generation for key in keys] != list(range(1, len(keys) + 1)):
        raise Violation(f"the chain of {root} has a hole")
    times = [backing.first[key][1] for key in keys]
    found = [contents_in(key, backing.first[key][0]) for key in keys]
    first = Generation(None, 0.0, times[0] if times else UNKNOWN)
    return [first, *map(Generation, found, times, [*times[1:], UNKNOWN])]


def judge_clones(history: CloneHistory, backing: Backing) -> Counter[str]:
    """Raises Violation; returns how many checks of each sort were made."""
    indexes = named(backing)
    chains = {index.index_id: chain(backing, index.index_id) for index in indexes}
    held = {
        pin.holder: pin
        for generations in chains.values()
        for generation in reversed(generations)
        for pin in (generation.contents.pins if generation.contents else [])
        if pin.holder
    }
    by_id = {index.index_id: index for index in indexes}
    for index in sorted(indexes, key=lambda each: each.created):  # a clone gets its name after its source
        replay(backing, index, beginning(index, chains, held, by_id))
        if index.sealed < index.created:
            raise Violation(f"index {index.name} was deleted before it got its name")
    done = check_use(history, indexes)
    for taken in history.taken:
        check_taken(taken, history, indexes, chains)
    for seen in history.seen:
        check_seen(seen, indexes, chains)
    for missed in history.missed:
        check_missed(missed, indexes)
    for cloned in history.clones:
        check_cloned(cloned, history, indexes, chains, held)
    for what in ("taken", "seen", "missed", "clones"):
        done[what] = len(getattr(history, what))
    sources = [origin(chains[index.index_id]) for index in indexes]
    done["clones of clones"] = sum(origin(chains[source]) != "" for source in sources if source)
    return done


def origin(generations: list[Generation]) -> str:
    first = generations[1].contents if len(generations) > 1 else None
    return first.origin if first else ""


def beginning(
    index: Incarnation,
    chains: dict[str, list[Generation]],
    held: dict[str, Pin],
    by_id: dict[str, Incarnation],
) -> dict[str, int]:
    """What an index holds before its first commit: nothing, or what its source held at the pinned commit."""
    source = origin(chains[index.index_id])
    if not source:
        return {}
    pin, first = held[index.index_id], chains[index.index_id][1].contents
    shared = [ref.seen_from_elsewhere(source) for ref in pin.segments]
    if first is None or first.segments != shared:
        raise Violation(f"the clone {index.name} names other segments than its source keeps for it")
    return by_id[source].states[pin.slot]


def of_name(name: Name, indexes: list[Incarnation], call: float, end: float) -> list[Incarnation]:
    return [index for index in indexes if index.name == name and index.lives(call, end)]


def acknowledged(history: CloneHistory, index: Incarnation, before: float) -> int:
    """The last commit of an index that a client had been told of."""
    return max(
        (write.commit for write in history.writes if write.value in index.written and write.end < before),
        default=0,
    )


def check_taken(
    taken: Taken, history: CloneHistory, indexes: list[Incarnation], chains: dict[str, list[Generation]]
) -> None:
    """In the time of the request a checkpoint was made that holds it, as of all that was acknowledged before."""
    for index in of_name(taken.name, indexes, taken.call, taken.end):
        for generation in chains[index.index_id]:
            pin = generation.snapshot(taken.snapshot)
            if (
                pin is not None
                and taken.call <= generation.start <= taken.end
                and acknowledged(history, index, taken.call) <= pin.slot == taken.commit
            ):
                return
    raise Violation(f"{taken} is in no checkpoint")


def check_seen(seen: Seen, indexes: list[Incarnation], chains: dict[str, list[Generation]]) -> None:
    """At some moment of the request it was so; after a deletion, at some later one it was not."""
    for index in of_name(seen.name, indexes, seen.call, seen.end):
        at_the_time = [each for each in chains[index.index_id] if each.start <= seen.end and each.end >= seen.call]
        there = [each.snapshot(seen.snapshot) is not None for each in at_the_time]
        if seen.there in there and (not seen.gone_then or False in there[there.index(True) :]):
            return
    raise Violation(f"{seen}, which was never so")


def check_missed(missed: Missed, indexes: list[Incarnation]) -> None:
    """At some moment of the request no index had the name, or it was sealed."""
    for index in indexes:
        if index.name == missed.name and index.created <= missed.call and index.gone >= missed.end:
            raise Violation(f"{missed}, but index {index.index_id} was there from {index.created} to {index.gone}")


def check_cloned(
    cloned: Cloned,
    history: CloneHistory,
    indexes: list[Incarnation],
    chains: dict[str, list[Generation]],
    held: dict[str, Pin],
) -> None:
    """It has its name since the time of the request, and what its source held then, or at the snapshot."""
    for index in indexes:
        if index.name != cloned.target or not cloned.call <= index.created <= cloned.end:
            continue
        sources = of_name(cloned.name, indexes, cloned.call, cloned.end)
        source = next((each for each in sources if each.index_id == origin(chains[index.index_id])), None)
        if source is None or held[index.index_id].slot != cloned.commit:
            continue
        if cloned.snapshot is None:
            if cloned.commit >= acknowledged(history, source, cloned.call):
                return
        elif any(
            generation.snapshot(cloned.snapshot) is not None
            and generation.snapshot(cloned.snapshot).slot == cloned.commit
            and generation.start <= cloned.end
            and generation.end >= cloned.call
            for generation in chains[source.index_id]
        ):
            return
    raise Violation(f"{cloned} did not come to be so")
