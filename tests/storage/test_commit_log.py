"""Tests of the commit log: every way an answer can get lost, and every way the log can move on meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from asynchronous import asynchronous
from quiver.format import paths
from quiver.format.envelope import Identity, Kind, decode, encode, make_payload
from quiver.format.log_entry import Part, PartKind
from quiver.model.errors import (
    BusyError,
    CorruptObjectError,
    MissingObjectError,
    OutcomeUnknownError,
    StoreUnavailableError,
)
from quiver.objectstore.store import StoreRefusedError
from quiver.storage.commit_log import LogSealedError
from quiver.storage.group_commit import Condition, ConditionFailedError
from storage.scripted_store import (
    Stall,
    become_zombie,
    claim_existence,
    fail,
    lose_answer,
    refuse,
)
from storage.tape import OWNER, QUICK, ROOT, Node


async def log_slots(store) -> list[int]:
    listed = await store.list(paths.log_prefix(ROOT))
    return [paths.classify(ROOT, info.key).slot for info in listed]


def log_key(slot: int) -> str:
    return paths.log_key(ROOT, slot)


# ---------------------------------------------------------------- writing and reading


@asynchronous
async def test_appends_take_slots_in_order_and_answer_with_what_applying_gave(store, runtime):
    node = Node(store, runtime)
    commits = [await node.log.append(Part(PartKind.CATALOG, body)) for body in (b"a", b"b", b"c")]
    assert [tuple(commit) for commit in commits] == [(1, 1), (2, 2), (3, 3)]
    assert await node.read() == [b"a", b"b", b"c"]
    assert await Node(store, runtime).read() == [b"a", b"b", b"c"]


@asynchronous
async def test_appends_that_wait_together_share_a_slot(store, runtime):
    node = Node(store, runtime)
    slots = await asyncio.gather(*(node.write(b"%03d" % number) for number in range(200)))
    assert len(set(slots)) <= 3
    assert await log_slots(store) == sorted(set(slots))
    assert await node.read() == [b"%03d" % number for number in range(200)]


@asynchronous
async def test_a_group_is_bounded_by_bytes(store, runtime):
    node = Node(store, runtime, replace(QUICK, group_bytes=100))
    slots = await asyncio.gather(*(node.write(b"x" * 40) for _ in range(9)))
    assert max(slots.count(slot) for slot in set(slots)) == 2
    big = await asyncio.gather(node.write(b"y" * 1000), node.write(b"z"))
    assert big[0] != big[1]


@asynchronous
async def test_too_much_waiting_is_refused_and_the_rest_is_committed(store, runtime):
    node = Node(store, runtime, replace(QUICK, queue_bytes=100))
    stall = Stall()
    store.next_put("/log/", stall)
    first = asyncio.ensure_future(node.write(b"first"))
    await stall.reached.wait()
    waiting = [asyncio.ensure_future(node.write(b"w" * 40)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(BusyError):
        await node.write(b"w" * 40)
    stall.go.set()
    await asyncio.gather(first, *waiting)
    assert await node.read() == [b"first", b"w" * 40, b"w" * 40]
    await node.write(b"w" * 40)


@asynchronous
async def test_two_writers_interleave_and_agree(store, runtime):
    one, other = Node(store, runtime), Node(store, runtime)

    async def write(node: Node, name: bytes) -> list[int]:
        return [await node.write(name + b"%02d" % number) for number in range(25)]

    slots = await asyncio.gather(write(one, b"a"), write(other, b"b"))
    tape = await one.read()
    assert tape == await other.read() == await Node(store, runtime).read()
    assert len(set(slots[0]) | set(slots[1])) == 50 == len(tape)
    for name in (b"a", b"b"):
        assert [body for body in tape if body.startswith(name)] == [name + b"%02d" % n for n in range(25)]
    assert await log_slots(store) == list(range(1, 51))


@asynchronous
async def test_reads_see_every_commit_acknowledged_before_they_began(store, runtime):
    one, other = Node(store, runtime), Node(store, runtime)
    for number in range(10):
        await one.write(b"%d" % number)
        assert len(await other.read()) == number + 1


@asynchronous
async def test_concurrent_reads_share_replays_that_take_time(store, runtime, monkeypatch):
    node = Node(store, runtime)
    await node.write(b"a")
    at_once = store.get

    async def slow(*where):
        await asyncio.sleep(0)
        return await at_once(*where)

    monkeypatch.setattr(store, "get", slow)
    before = len(store.gets)
    assert await asyncio.gather(*(node.read() for _ in range(100))) == [[b"a"]] * 100
    assert len(store.gets) - before <= 2


@asynchronous
async def test_an_error_in_a_capture_is_its_callers_alone(store, runtime):
    node = Node(store, runtime)
    await node.write(b"a")

    def broken() -> None:
        raise KeyError("mine")

    answers = await asyncio.gather(node.log.observe(broken), node.read(), return_exceptions=True)
    assert isinstance(answers[0], KeyError)
    assert answers[1] == [b"a"]


@asynchronous
async def test_a_caller_that_gives_up_leaves_the_others_alone(store, runtime):
    node = Node(store, runtime)
    stall = Stall()
    store.next_put("/log/", stall)
    impatient = asyncio.ensure_future(node.write(b"a"))
    await stall.reached.wait()
    patient = asyncio.ensure_future(node.write(b"b"))
    await asyncio.sleep(0)
    impatient.cancel()
    stall.go.set()
    assert await patient == 2
    assert await node.read() == [b"a", b"b"]


# ---------------------------------------------------------------- answers that get lost


@pytest.mark.parametrize("fate", [lose_answer, fail, claim_existence], ids=lambda fate: fate.__name__)
@pytest.mark.parametrize("times", [1, 3])
@asynchronous
async def test_an_entry_is_committed_once_however_its_put_is_answered(store, runtime, fate, times):
    node, other = Node(store, runtime), Node(store, runtime)
    await node.write(b"a")
    store.next_put(r"/log/\d*2$", *[fate if number == 0 else fail for number in range(times)])
    assert await node.write(b"b") == 2
    assert await other.write(b"c") == 3
    assert await node.read() == await other.read() == [b"a", b"b", b"c"]
    assert await log_slots(store) == [1, 2, 3]


@asynchronous
async def test_a_slot_that_goes_to_another_while_the_answer_is_out_is_not_ours(store, runtime):
    node, other = Node(store, runtime), Node(store, runtime)
    await node.write(b"a")
    stall = Stall(then=fail)
    store.next_put("/log/", stall)
    writing = asyncio.ensure_future(node.write(b"mine"))
    await stall.reached.wait()
    assert await other.write(b"theirs") == 2
    stall.go.set()
    assert await writing == 3
    assert await node.read() == [b"a", b"theirs", b"mine"]


@asynchronous
async def test_an_entry_that_lands_twice_applies_once(store, runtime):
    """The put of slot 2 is given up and lands in slot 2 after all, when its entry already stands in slot 3."""
    node, other = Node(store, runtime), Node(store, runtime)
    await node.write(b"a")
    stall = Stall(then=fail)
    store.next_put(r"/log/\d*2$", become_zombie, stall)
    writing = asyncio.ensure_future(node.write(b"mine"))
    await stall.reached.wait()
    assert await store.land_zombies() == [True]
    assert await other.write(b"theirs") == 3
    stall.go.set()
    assert await writing == 2
    assert await node.read() == await Node(store, runtime).read() == [b"a", b"mine", b"theirs"]


@asynchronous
async def test_the_same_entry_in_two_slots_counts_at_the_first(store, runtime):
    node = Node(store, runtime)
    await node.write(b"a")
    first = bytes(await store.get(log_key(1)))
    identity, payload = decode(Kind.LOG_ENTRY, log_key(1), OWNER, first)
    again = Identity(log_key(2), OWNER, identity.writer, identity.sequence)
    await store.put_new(log_key(2), encode(Kind.LOG_ENTRY, again, make_payload([bytes(payload)])))
    reader = Node(store, runtime)
    assert await reader.read() == [b"a"]
    assert reader.log.slot == 2
    assert await node.write(b"b") == 3
    assert await reader.read() == [b"a", b"b"]


@asynchronous
async def test_a_definite_refusal_fails_the_write_for_good(store, runtime):
    node = Node(store, runtime)
    await node.write(b"a")
    store.next_put("/log/", refuse)
    with pytest.raises(StoreRefusedError):
        await node.write(b"b")
    assert await node.read() == [b"a"]
    assert await node.write(b"c") == 2
    assert await Node(store, runtime).read() == [b"a", b"c"]


@asynchronous
async def test_a_refusal_after_an_uncertain_attempt_is_not_a_failure(store, runtime):
    node = Node(store, runtime)
    await node.write(b"a")
    store.next_put("/log/", become_zombie, refuse, refuse)
    assert await node.write(b"b") == 2
    assert await store.land_zombies() == [False]
    assert await Node(store, runtime).read() == [b"a", b"b"]


@asynchronous
async def test_a_refusal_after_another_took_the_uncertain_slot_is_definite(store, runtime):
    node, other = Node(store, runtime), Node(store, runtime)
    await node.write(b"a")
    stall = Stall(then=become_zombie)
    store.next_put(r"/log/\d*2$", stall)
    store.next_put(r"/log/\d*3$", refuse)
    writing = asyncio.ensure_future(node.write(b"mine"))
    await stall.reached.wait()
    await other.write(b"theirs")
    stall.go.set()
    with pytest.raises(StoreRefusedError):
        await writing
    assert await store.land_zombies() == [False]
    assert await node.read() == [b"a", b"theirs"]


@asynchronous
async def test_past_the_deadline_the_outcome_is_unknown_and_resolves_later(store, runtime):
    node = Node(store, runtime, replace(QUICK, deadline=0.05))
    await node.write(b"a")
    stall = Stall()
    store.next_put("/log/", stall)
    with pytest.raises(OutcomeUnknownError):
        await node.write(b"late")
    assert await node.read() == [b"a"]
    stall.go.set()
    while len(await node.read()) < 2:
        await asyncio.sleep(0.001)
    assert await node.write(b"next") == 3
    assert await Node(store, runtime).read() == [b"a", b"late", b"next"]


# ---------------------------------------------------------------- checkpoints and garbage


@asynchronous
async def test_a_checkpoint_and_what_follows_it_give_the_same_state(store, runtime):
    node = Node(store, runtime)
    for number in range(5):
        await node.write(b"%d" % number)
    assert await node.checkpoint()
    await node.write(b"5")
    assert len(await node.collect()) == 5
    fresh = Node(store, runtime)
    assert await fresh.read() == await node.read() == [b"%d" % number for number in range(6)]
    assert (fresh.log.base, fresh.log.base_slot, fresh.log.slot) == (1, 5, 6)


@asynchronous
async def test_the_session_table_survives_in_the_checkpoint(store, runtime):
    """An entry lands, its answer is lost, and before it is asked for again its slot is collected."""
    node, other = Node(store, runtime), Node(store, runtime)
    await node.write(b"a")
    stall = Stall(then=fail)
    store.next_put("/log/", lose_answer, stall)
    writing = asyncio.ensure_future(node.write(b"mine"))
    await stall.reached.wait()
    assert await other.read() == [b"a", b"mine"]
    await other.checkpoint()
    await other.collect()
    assert await log_slots(store) == []
    stall.go.set()
    assert await writing == 2
    assert await node.read() == await Node(store, runtime).read() == [b"a", b"mine"]


@asynchronous
async def test_a_slot_a_checkpoint_has_passed_is_not_a_commit(store, runtime):
    """The put stalls so long that its slot is used, checkpointed and collected, and then creates it anew."""
    node, other = Node(store, runtime), Node(store, runtime)
    await node.write(b"a")
    stall = Stall()
    store.next_put("/log/", stall)
    writing = asyncio.ensure_future(node.write(b"mine"))
    await stall.reached.wait()
    await other.write(b"theirs")
    await other.write(b"more")
    await other.checkpoint()
    await other.collect()
    assert await log_slots(store) == []
    stall.go.set()
    assert await writing == 4
    assert await log_slots(store) == [2, 4]
    expected = [b"a", b"theirs", b"more", b"mine"]
    assert await node.read() == await other.read() == await Node(store, runtime).read() == expected


@asynchronous
async def test_a_late_put_into_a_collected_slot_misleads_no_reader(store, runtime):
    """A reader that stands before the slot must not take the zombie for the log's next entry."""
    stale, node, other = (Node(store, runtime) for _ in range(3))
    await node.write(b"a")
    assert await stale.read() == [b"a"]
    stall = Stall(then=fail)
    store.next_put(r"/log/\d*2$", become_zombie, stall)
    writing = asyncio.ensure_future(node.write(b"zombie"))
    await stall.reached.wait()
    await other.write(b"theirs")
    await other.checkpoint()
    await other.collect()
    assert await store.land_zombies() == [True]
    assert await stale.read() == [b"a", b"theirs"]
    stall.go.set()
    assert await writing == 3
    assert await stale.read() == await Node(store, runtime).read() == [b"a", b"theirs", b"zombie"]


@pytest.fixture
def near(store):
    """A store at hand, where the end of the log is asked for in one call."""
    store.resident = True
    return store


@asynchronous
async def test_a_reader_at_hand_sees_entries_and_checkpoints_of_others(near, runtime):
    reader, other = Node(near, runtime), Node(near, runtime)
    written: list[bytes] = []
    for number in range(4):
        for body in (b"%d" % number, b"again"):
            await other.write(body)
            written.append(body)
            assert await reader.read() == written
        await other.checkpoint()
        assert await reader.read() == written
        assert reader.log.base == number + 1


@asynchronous
async def test_a_reader_at_hand_whose_base_was_replaced_under_its_name_notices(near, runtime):
    """All that came after the base was collected, the base too, and a draft that lost landed late in its place."""
    reader, other = Node(near, runtime), Node(near, runtime)
    await other.write(b"a")
    draft = await other.draft()
    assert await other.checkpoint()
    assert await reader.read() == await reader.read() == [b"a"]
    for body in (b"b", b"c"):
        await other.write(body)
        await other.checkpoint()
    await other.collect()
    assert await other.log.publish_checkpoint(draft)
    assert (await log_slots(near), reader.log.base) == ([], 1)
    assert await reader.read() == [b"a", b"b", b"c"]


@asynchronous
async def test_nothing_new_is_asked_for_in_three_reads_one_after_the_other(near, runtime):
    node = Node(near, runtime)
    await node.write(b"a")
    await node.checkpoint()
    await node.read()
    near.gets.clear()
    assert await node.read() == [b"a"]
    assert near.gets == [log_key(2), paths.checkpoint_key(ROOT, 2), paths.checkpoint_key(ROOT, 1)]


@asynchronous
async def test_a_writer_the_table_forgot_reports_an_unknown_outcome(store, runtime):
    """A put stalls while others fill more slots than sessions are kept for, and checkpoint."""
    settings = replace(QUICK, session_slots=3)
    node, other = Node(store, runtime, settings), Node(store, runtime, settings)
    await node.write(b"a")
    stall = Stall()
    store.next_put("/log/", stall)
    writing = asyncio.ensure_future(node.write(b"mine"))
    await stall.reached.wait()
    for number in range(8):
        await other.write(b"%d" % number)
    await other.checkpoint()
    await other.collect()
    stall.go.set()
    with pytest.raises(OutcomeUnknownError):
        await writing
    assert await node.write(b"next") == 10
    expected = [b"a", *(b"%d" % number for number in range(8)), b"next"]
    assert await node.read() == await Node(store, runtime).read() == expected


@asynchronous
async def test_writers_that_go_on_writing_stay_in_the_table(store, runtime):
    node = Node(store, runtime, replace(QUICK, session_slots=2))
    for number in range(6):
        await node.write(b"%d" % number)
        assert await node.checkpoint()
        await node.collect()
    assert await Node(store, runtime).read() == [b"%d" % number for number in range(6)]
    silent = Node(store, runtime, replace(QUICK, session_slots=2))
    draft = await silent.draft()
    assert len(draft.sessions) == 1
    assert draft.horizon == 4


@asynchronous
async def test_readers_that_lag_behind_catch_up_through_checkpoints(store, runtime):
    node, lagging = Node(store, runtime), Node(store, runtime)
    await node.write(b"0")
    assert await lagging.read() == [b"0"]
    for number in range(1, 30):
        await node.write(b"%d" % number)
        if number % 7 == 0:
            await node.checkpoint()
            await node.collect()
    assert await lagging.read() == [b"%d" % number for number in range(30)]


@asynchronous
async def test_one_of_the_checkpoints_drafted_from_one_base_is_published(store, runtime):
    one, other = Node(store, runtime), Node(store, runtime)
    await one.write(b"a")
    early = await one.draft()
    await one.write(b"b")
    late = await other.draft()
    assert (early.generation, early.slot, late.generation, late.slot) == (1, 1, 1, 2)
    assert await one.log.publish_checkpoint(early)
    assert not await other.log.publish_checkpoint(late)
    await other.read()
    assert await other.checkpoint()
    assert await Node(store, runtime).read() == [b"a", b"b"]


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("slot", [1, 3, 4])
@asynchronous
async def test_a_missing_entry_is_noticed_when_the_log_is_opened(store, runtime, slot):
    node = Node(store, runtime)
    for number in range(5):
        await node.write(b"%d" % number)
    await store.delete([log_key(slot)])
    for _ in range(2):
        with pytest.raises(MissingObjectError):
            await Node(store, runtime).read()
    with pytest.raises(MissingObjectError):
        await Node(store, runtime).write(b"x")


@asynchronous
async def test_a_missing_entry_behind_a_checkpoint_matters_to_nobody(store, runtime):
    node = Node(store, runtime)
    for number in range(5):
        await node.write(b"%d" % number)
        if number == 2:
            await node.checkpoint()
    await store.delete([log_key(1), log_key(3)])
    assert await Node(store, runtime).read() == [b"%d" % number for number in range(5)]


@asynchronous
async def test_a_missing_checkpoint_is_noticed_once_its_entries_are_collected(store, runtime):
    node = Node(store, runtime)
    for number in range(5):
        await node.write(b"%d" % number)
        if number == 2:
            await node.checkpoint()
            await node.collect()
    listed = [info.key for info in await store.list(paths.checkpoint_prefix(ROOT))]
    await store.delete(listed)
    with pytest.raises(MissingObjectError):
        await Node(store, runtime).read()


@asynchronous
async def test_a_swapped_entry_is_noticed(store, runtime):
    node = Node(store, runtime)
    await node.write(b"a")
    await node.write(b"b")
    second = bytes(await store.get(log_key(2)))
    await store.delete([log_key(1)])
    await store.put_new(log_key(1), [second])
    with pytest.raises(CorruptObjectError):
        await Node(store, runtime).read()


@asynchronous
async def test_a_store_that_does_not_answer_fails_reads_until_it_does(store, runtime):
    node = Node(store, runtime)
    await node.write(b"a")
    real, store.inner.get = store.inner.get, None

    async def broken(key, start=0, length=None):
        raise StoreUnavailableError("no answer")

    store.inner.get = broken
    with pytest.raises(StoreUnavailableError):
        await node.read()
    store.inner.get = real
    assert await node.read() == [b"a"]


# ---------------------------------------------------------------- conditions


def on_tape(node, *bodies, keys=("tape",)):
    """A condition: just these were applied."""
    return Condition(frozenset(keys), lambda: node.tape.bodies == list(bodies))


@asynchronous
async def test_an_entry_with_a_condition_is_committed_only_if_it_holds(store, runtime):
    node = Node(store, runtime)
    await node.write(b"a")
    part = Part(PartKind.CATALOG, b"b")
    with pytest.raises(ConditionFailedError):
        await node.log.append(part, on_tape(node))
    assert await node.read() == [b"a"]
    assert await log_slots(store) == [1]
    assert (await node.log.append(part, on_tape(node, b"a"))).slot == 2
    assert await Node(store, runtime).read() == [b"a", b"b"]


@asynchronous
async def test_a_condition_is_judged_on_what_other_nodes_wrote(store, runtime):
    """The writer believes in a state that is no more: it loses the slot, and judges again."""
    node, other = Node(store, runtime), Node(store, runtime)
    assert await node.read() == []
    await other.write(b"a")
    with pytest.raises(ConditionFailedError):
        await node.log.append(Part(PartKind.CATALOG, b"b"), on_tape(node))
    assert await other.read() == [b"a"]
    await node.log.append(Part(PartKind.CATALOG, b"b"), Condition(frozenset(), lambda: b"a" in node.tape.bodies))
    assert await other.read() == [b"a", b"b"]


@asynchronous
async def test_of_many_writers_with_one_condition_one_commits(store, runtime):
    nodes = [Node(store, runtime) for _ in range(4)]
    outcomes = await asyncio.gather(
        *(
            node.log.append(Part(PartKind.CATALOG, b"%d %d" % (number, attempt)), on_tape(node))
            for number, node in enumerate(nodes)
            for attempt in range(3)
        ),
        return_exceptions=True,
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, ConditionFailedError)]
    assert len(refused) == len(outcomes) - 1
    assert len(await nodes[0].read()) == 1


@asynchronous
async def test_of_the_parts_of_an_entry_those_go_whose_condition_fails(store, runtime):
    """Both are judged again when another node has taken the slot meanwhile."""
    node, other = Node(store, runtime), Node(store, runtime)
    assert await node.read() == []
    await other.write(b"theirs")
    conditions = [on_tape(node, keys=["a"]), on_tape(node, b"theirs", keys=["b"]), on_tape(node, keys=["c"]), None]
    parts = [Part(PartKind.CATALOG, b"%d" % number) for number in range(len(conditions))]
    first = asyncio.ensure_future(node.write(b"first"))  # so that the others wait together
    await asyncio.sleep(0)
    outcomes = await asyncio.gather(*map(node.log.append, parts, conditions), return_exceptions=True)
    assert [isinstance(outcome, ConditionFailedError) for outcome in outcomes] == [True, True, True, False]
    assert await other.read() == [b"theirs", b"first", b"3"]
    assert await first < outcomes[3].slot


@asynchronous
async def test_parts_with_conditions_share_an_entry(store, runtime):
    node = Node(store, runtime)
    first = asyncio.ensure_future(node.write(b"first"))
    await asyncio.sleep(0)
    conditions = [on_tape(node, b"first", keys=[name]) for name in ("a", "b")]
    conditions.insert(1, on_tape(node, keys=["c"]))  # fails: of a group, only what holds is written
    parts = [Part(PartKind.CATALOG, b"%d" % number) for number in range(3)]
    outcomes = await asyncio.gather(*map(node.log.append, parts, conditions), return_exceptions=True)
    assert isinstance(outcomes[1], ConditionFailedError)
    assert [(one.slot, one.result) for one in (outcomes[0], outcomes[2])] == [
        (await first + 1, 2),
        (await first + 1, 3),
    ]
    assert await Node(store, runtime).read() == [b"first", b"0", b"2"]


@asynchronous
async def test_when_no_part_of_an_entry_is_left_none_is_written(store, runtime):
    node = Node(store, runtime)
    await node.write(b"a")
    conditions = [on_tape(node, keys=[name]) for name in ("a", "b")]
    parts = [Part(PartKind.CATALOG, b"no")] * 2
    outcomes = await asyncio.gather(*map(node.log.append, parts, conditions), return_exceptions=True)
    assert all(isinstance(outcome, ConditionFailedError) for outcome in outcomes)
    assert await log_slots(store) == [1]
    assert await node.write(b"b") == 2


@asynchronous
async def test_a_node_that_never_read_judges_what_is_there(store, runtime):
    await Node(store, runtime).write(b"a")
    fresh = Node(store, runtime)
    with pytest.raises(ConditionFailedError):
        await fresh.log.append(Part(PartKind.CATALOG, b"b"), on_tape(fresh))
    fresh = Node(store, runtime)
    assert (await fresh.log.append(Part(PartKind.CATALOG, b"b"), on_tape(fresh, b"a"))).slot == 2


# ---------------------------------------------------------------- sealing


@asynchronous
async def test_nothing_follows_a_seal(store, runtime):
    node, other = Node(store, runtime), Node(store, runtime)
    await node.write(b"a")
    assert await other.read() == [b"a"]
    await node.log.append(Part(PartKind.SEAL, b""))
    for late in (node, other, Node(store, runtime)):
        with pytest.raises(LogSealedError):
            await late.write(b"b")
        assert await late.read() == [b"a"]
        assert late.log.sealed
    assert await log_slots(store) == [1, 2]


@asynchronous
async def test_appends_that_wait_behind_a_seal_are_refused(store, runtime):
    node = Node(store, runtime)
    outcomes = await asyncio.gather(
        node.write(b"a"),
        node.log.append(Part(PartKind.SEAL, b"")),
        node.write(b"b"),
        node.log.append(Part(PartKind.SEAL, b"")),
        return_exceptions=True,
    )
    assert outcomes[0] == 1
    assert outcomes[1].slot == 2
    assert all(isinstance(outcome, LogSealedError) for outcome in outcomes[2:])
    assert await Node(store, runtime).read() == [b"a"]


@asynchronous
async def test_a_seal_survives_checkpoints_and_collection(store, runtime):
    node = Node(store, runtime)
    await node.write(b"a")
    await node.log.append(Part(PartKind.SEAL, b""))
    await node.checkpoint()
    await node.collect()
    with pytest.raises(LogSealedError):
        await Node(store, runtime).write(b"b")
