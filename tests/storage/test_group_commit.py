"""Group commit by itself: what goes together, what is refused, and who is told what."""

from __future__ import annotations

import asyncio

import pytest

from asynchronous import asynchronous
from quiver.format.checkpoint import Session
from quiver.format.log_entry import Part, PartKind
from quiver.model.errors import BusyError, OutcomeUnknownError
from quiver.model.runtime import SystemRuntime
from quiver.storage.group_commit import Commit, Condition, ConditionFailedError, GroupCommit, Waiting


class Log:
    """Commits when told to; remembers the entries."""

    def __init__(self) -> None:
        self.entries: list[list[Part]] = []
        self.conditions: list[object] = []
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def commit(self, waiting: list[Waiting]) -> Session | None:
        self.entries.append([each.part for each in waiting])
        self.conditions.append([each.condition for each in waiting])
        await self.go.wait()
        if self.error is not None:
            raise self.error
        waiting[:] = [each for each in waiting if self.holds(each)]
        results = [bytes(each.part.body) for each in waiting]
        return Session(len(self.entries), len(self.entries), results) if waiting else None

    @staticmethod
    def holds(waiting: Waiting) -> bool:
        if waiting.condition is None or waiting.condition.holds():
            return True
        waiting.refuse(ConditionFailedError("no"))
        return False


def group(**changes: float) -> GroupCommit:
    return GroupCommit(
        SystemRuntime(threads=1), **{"group_bytes": 10, "queue_bytes": 30, "deadline": 5.0} | changes
    )


def put(body: bytes) -> Part:
    return Part(PartKind.PUT, body)


async def start(commits: GroupCommit, log: Log, *parts: Part) -> list[asyncio.Task[Commit]]:
    tasks = [asyncio.ensure_future(commits.append(part, log.commit)) for part in parts]
    await asyncio.sleep(0.01)
    return tasks


@asynchronous
async def test_what_waits_while_an_entry_is_written_goes_together_up_to_the_size():
    commits, log = group(), Log()
    tasks = await start(commits, log, put(b"first"))
    tasks += await start(commits, log, put(b"aaaa"), put(b"bbbb"), put(b"cccc"), put(b"d" * 15))
    log.go.set()
    assert await asyncio.gather(*tasks) == [
        Commit(1, b"first"),
        Commit(2, b"aaaa"),
        Commit(2, b"bbbb"),
        Commit(3, b"cccc"),
        Commit(4, b"d" * 15),
    ]


@asynchronous
async def test_a_seal_has_an_entry_of_its_own():
    commits, log = group(), Log()
    tasks = await start(commits, log, put(b"1"), put(b"2"), Part(PartKind.SEAL, b""), put(b"3"))
    log.go.set()
    assert [commit.slot for commit in await asyncio.gather(*tasks)] == [1, 1, 2, 3]


def about(*keys: str, holds: bool = True) -> Condition:
    return Condition(frozenset(keys), lambda: holds)


async def slots_of(*conditions: Condition | None) -> list[int]:
    """The entries that parts with these conditions go into, while another one is being written."""
    commits, log = group(group_bytes=100), Log()
    tasks = await start(commits, log, put(b"first"))
    tasks += [asyncio.ensure_future(commits.append(put(b"x"), log.commit, condition)) for condition in conditions]
    await asyncio.sleep(0.01)
    log.go.set()
    return [commit.slot for commit in (await asyncio.gather(*tasks))[1:]]


@asynchronous
async def test_parts_with_conditions_about_distinct_keys_share_an_entry():
    assert await slots_of(about("a"), about("b", "c"), about("d")) == [2, 2, 2]


@asynchronous
async def test_a_key_of_an_earlier_condition_needs_another_entry():
    assert await slots_of(about("a"), about("b", "c"), about("c"), about("b"), about("c")) == [2, 2, 3, 3, 4]


@asynchronous
async def test_a_condition_does_not_come_after_a_part_whose_keys_are_not_known():
    assert await slots_of(about("a"), None, None, about("b"), None) == [2, 2, 2, 3, 3]


@asynchronous
async def test_who_is_refused_in_an_entry_is_told_and_the_others_too():
    commits, log = group(), Log()
    tasks = await start(commits, log, put(b"0"))
    conditions = about("a"), about("b", holds=False), None
    tasks += [asyncio.ensure_future(commits.append(put(b"x"), log.commit, each)) for each in conditions]
    tasks += [asyncio.ensure_future(commits.append(put(b"y"), log.commit, about("a", holds=False)))]
    await asyncio.sleep(0.01)
    log.go.set()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert [told[0], told[1], told[3]] == [Commit(1, b"0"), Commit(2, b"x"), Commit(2, b"x")]
    assert [type(told[2]), type(told[4])] == [ConditionFailedError] * 2
    assert (await commits.append(put(b"z"), log.commit)).slot == 4


@asynchronous
async def test_too_much_waiting_is_refused_and_never_committed():
    commits, log = group(), Log()
    tasks = await start(commits, log, put(b"1"))
    tasks += await start(commits, log, put(b"x" * 20))
    with pytest.raises(BusyError):
        await commits.append(put(b"y" * 11), log.commit)
    log.go.set()
    await asyncio.gather(*tasks)
    assert [part.body for entry in log.entries for part in entry] == [b"1", b"x" * 20]


@asynchronous
async def test_after_the_deadline_the_outcome_is_unknown_and_the_part_is_committed_all_the_same():
    commits, log = group(deadline=0.02), Log()
    with pytest.raises(OutcomeUnknownError):
        await commits.append(put(b"late"), log.commit)
    log.go.set()
    assert (await commits.append(put(b"next"), log.commit)).slot == 2
    assert [part.body for entry in log.entries for part in entry] == [b"late", b"next"]


@asynchronous
async def test_everybody_in_a_failed_entry_is_told_and_the_next_one_goes_on():
    commits, log = group(), Log()
    first = await start(commits, log, put(b"0"))
    failing = await start(commits, log, put(b"1"), put(b"2"))
    log.error = ValueError("as told")
    log.go.set()
    told = await asyncio.gather(*first, *failing, return_exceptions=True)
    assert [str(error) for error in told] == ["as told"] * 3
    log.error = None
    assert (await commits.append(put(b"3"), log.commit)).result == b"3"
