"""Tests of the disk tier: what it gives is what it was given, within a budget, for any number of threads."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiver.storage.cache import disk_tier, object_file
from quiver.storage.cache.disk_tier import DiskTier
from quiver.storage.cache.object_file import ObjectFile
from storage.cache.kept import BLOCK, BUDGET, Thing, files, tier_of, used


# -------------------------------------------------------------------- keeping
def test_what_was_written_is_found_and_read(tmp_path):
    thing, other = Thing(1, 10 * BLOCK), Thing(2, 10 * BLOCK)
    with tier_of(tmp_path) as tier:
        thing.offer(tier, np.array([1, 2, 3, 7]))
        assert np.flatnonzero(thing.known(tier)).tolist() == [1, 2, 3, 7]
        assert np.flatnonzero(thing.read(tier)).tolist() == [1, 2, 3, 7]
        assert thing.read(tier, np.array([7, 0, 3, 1])).tolist() == [True, False, True, True]
        assert not other.read(tier).any()
        assert (tier.counters.hits, tier.counters.misses) == (7, 6 + 1 + 10)
        assert (tier.counters.admitted, tier.counters.refused, tier.counters.damaged) == (4, 0, 0)
        assert 4 * BLOCK < used(tmp_path) <= tier.counters.nbytes < 5 * BLOCK


def test_the_last_block_is_shorter(tmp_path):
    thing, tiny, nothing = Thing(1, 2 * BLOCK + 5), Thing(2, 1), Thing(3, 0)
    with tier_of(tmp_path) as tier:
        for each in (thing, tiny, nothing):
            each.offer(tier)
            assert each.read(tier).all()
        assert len(files(tmp_path)) == 2


def test_blocks_outside_the_object_are_not_taken(tmp_path):
    thing = Thing(1, 2 * BLOCK)
    with tier_of(tmp_path) as tier:
        thing.offer(tier, np.array([-1, 2, 1 << 50, -(1 << 62)]))
        thing.offer(tier, thing.blocks[:0])
        assert tier.counters.admitted == 0
        assert not thing.read(tier).any()


def test_a_block_is_written_once(tmp_path):
    thing = Thing(1, 3 * BLOCK)
    with tier_of(tmp_path) as tier:
        thing.offer(tier)
        thing.offer(tier)
        thing.offer(tier, np.array([1, 1, 0]))
        assert (tier.counters.admitted, tier.counters.refused) == (3, 0)


def test_a_dropped_object_is_gone_also_after_a_restart(tmp_path):
    thing, other = Thing(1, 9 * BLOCK), Thing(2, 9 * BLOCK)
    with tier_of(tmp_path) as tier:
        thing.offer(tier)
        other.offer(tier)
        before = tier.counters.nbytes
        thing.drop(tier)
        assert tier.counters.nbytes == before / 2
        assert not thing.read(tier).any()
        assert other.read(tier).all()
    with tier_of(tmp_path) as tier:
        assert not thing.read(tier).any()
        assert other.read(tier).all()
        thing.offer(tier)
        assert thing.read(tier).all()


def test_who_looks_at_an_object_that_is_dropped_may_go_on_and_the_next_has_another_file(tmp_path):
    thing = Thing(1, 3 * BLOCK)
    with tier_of(tmp_path) as tier:
        thing.offer(tier)
        shelf = tier.attach(thing.name, len(thing.data), thing.leases)
        tier.discard(shelf.file)
        thing.offer(tier, np.array([1]))
        assert thing.read(tier).tolist() == [False, True, False]
        tier.write(shelf.file, thing.blocks, memoryview(bytes(3 * BLOCK)), thing.leases)
        assert (tier.counters.failures, tier.counters.admitted) == (0, 4)
        assert bytes(shelf.mapping) == thing.data
        assert thing.read(tier).tolist() == [False, True, False]


def test_one_at_a_time_looks_at_a_file(tmp_path):
    """Another's mapping may hold in memory what the file does not have."""
    thing = Thing(1, 3 * BLOCK)
    with tier_of(tmp_path) as tier:
        shelf = tier.attach(thing.name, len(thing.data), thing.leases)
        assert tier.attach(thing.name, len(thing.data), thing.leases) is None
        del shelf
        assert tier.attach(thing.name, len(thing.data), thing.leases) is not None


def test_a_file_that_a_thread_discards_to_make_room_is_made_anew(tmp_path, monkeypatch):
    thing = Thing(1, 3 * BLOCK)
    with tier_of(tmp_path) as tier:
        thing.offer(tier)
        (file,) = tier._files.values()
        was_mapped = ObjectFile.is_mapped.fget

        def discarded_meanwhile(asked):
            if asked is file:
                tier.discard(file)
            return was_mapped(asked)

        monkeypatch.setattr(ObjectFile, "is_mapped", property(discarded_meanwhile))
        shelf = tier.attach(thing.name, len(thing.data), thing.leases)
        assert shelf.file is not file
        assert tier.counters.failures == 0


def test_after_closing_nothing_is_found_and_nothing_taken(tmp_path):
    thing = Thing(1, 3 * BLOCK)
    tier = DiskTier.open(tmp_path, BUDGET)
    thing.offer(tier)
    shelf = tier.attach(thing.name, len(thing.data), thing.leases)
    tier.close()
    tier.close()
    before = used(tmp_path)
    assert not thing.read(tier).any()
    thing.offer(tier)
    tier.write(shelf.file, thing.blocks, memoryview(thing.data), thing.leases)
    assert used(tmp_path) == before
    assert bytes(shelf.mapping) == thing.data


def test_files_that_others_deleted_or_cut_shorter_are_made_anew(tmp_path):
    thing = Thing(1, 3 * BLOCK)
    with tier_of(tmp_path) as tier:
        for spoil in (lambda path: path.unlink(), lambda path: os.truncate(path, 100)):
            thing.offer(tier)
            while not thing.read(tier).all():
                thing.offer(tier)
            spoil(files(tmp_path)[0])
            assert not thing.read(tier).any()
        assert tier.counters.failures == 2


# -------------------------------------------------------------------- the budget
@pytest.mark.parametrize("budget", [BUDGET, 10 * BLOCK, 200 * BLOCK + 7])
def test_the_budget_is_never_passed(tmp_path, monkeypatch, budget):
    """Looked at after every write to a file."""
    most = [0]
    real = os.pwrite

    def watched(*args):
        written = real(*args)
        most[0] = max(most[0], used(tmp_path))
        return written

    monkeypatch.setattr(object_file.os, "pwrite", watched)
    things = [Thing(number, 12 * BLOCK + number) for number in range(30)]
    random = np.random.default_rng(0)
    with tier_of(tmp_path, budget) as tier:
        for turn in range(120):
            thing = things[int(random.integers(30) * random.random())]
            thing.read(tier)
            thing.offer(tier)
            assert used(tmp_path) <= tier.counters.nbytes <= budget
            if turn % 40 == 20:
                thing.drop(tier)
        assert tier.counters.evicted > 0
    assert 0.7 * budget < most[0] <= budget


def test_a_smaller_budget_keeps_the_newest(tmp_path):
    things = [Thing(number, 5 * BLOCK) for number in range(10)]
    with tier_of(tmp_path) as tier:
        for number, thing in enumerate(things):
            thing.offer(tier)
            os.utime(next(path for path in files(tmp_path) if thing.name.hex() in path.name), (number, number))
        assert all(thing.read(tier).all() for thing in things)
    with tier_of(tmp_path, BUDGET // 4) as tier:
        assert used(tmp_path) <= BUDGET // 4
        assert things[-1].read(tier).all()
        assert not things[0].read(tier).any()
        for number in range(20, 30):
            Thing(number, 5 * BLOCK).offer(tier)
        assert used(tmp_path) <= BUDGET // 4


def test_a_budget_for_less_than_a_block_keeps_nothing(tmp_path):
    thing = Thing(1, 3 * BLOCK)
    with tier_of(tmp_path) as tier:
        thing.offer(tier)
    for budget in (0, 1, BLOCK):
        with tier_of(tmp_path, budget) as tier:
            thing.offer(tier)
            thing.offer(tier)
            assert not thing.read(tier).any()
            assert used(tmp_path) <= budget


def test_files_are_not_too_many(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_tier, "_MOST_FILES", 5)
    things = [Thing(number, BLOCK) for number in range(9)]
    with tier_of(tmp_path) as tier:
        looked_at = tier.attach(things[0].name, BLOCK, Thing.leases)
        for thing in things[1:]:
            thing.offer(tier)
        assert [thing.known(tier).all() for thing in things[1:]] == [False] * 4 + [True] * 4
        assert not looked_at.file.retired
        assert len(files(tmp_path)) == 5
        many = [tier.attach(thing.name, BLOCK, Thing.leases) for thing in things]
        assert [each is None for each in many] == [True] + [False] * 4 + [True] * 4, (
            "those that are looked at stay"
        )
        assert tier.counters.failures == 0
        for thing, each in zip(things, many, strict=True):
            if each is not None:
                tier.write(each.file, thing.blocks, memoryview(thing.data), Thing.leases)
    monkeypatch.setattr(disk_tier, "_MOST_FILES", 3)
    with tier_of(tmp_path):
        assert len(files(tmp_path)) == 3


def test_blocks_in_use_stay_when_room_is_needed(tmp_path):
    busy, late = Thing(1, 40 * BLOCK), Thing(2, 40 * BLOCK)
    with tier_of(tmp_path) as tier:
        busy.offer(tier)
        with busy.leased():
            assert busy.read(tier).all()
            for _ in range(3):
                late.offer(tier)
            assert busy.read(tier).all()
            assert 15 < late.read(tier).sum() < 25
        for _ in range(3):
            late.offer(tier)
        assert late.read(tier).sum() > 25


# -------------------------------------------------------------------- admission
def fetched(tier: DiskTier, thing: Thing) -> np.ndarray:
    """Read an object as a query does: what is not here comes from the store, and is offered. Which was here."""
    here = thing.read(tier)
    thing.offer(tier, thing.blocks[~here])
    return here


def hit_rate(tier: DiskTier, things: list[Thing]) -> float:
    return float(np.mean([fetched(tier, thing) for thing in things]))


HOT = [Thing(number, 4 * BLOCK) for number in range(8)]  # half the budget
SCANNED = [Thing(100 + number, 4 * BLOCK) for number in range(160)]  # ten times the budget


def test_a_scan_does_not_push_out_what_is_used_again_and_again(tmp_path):
    with tier_of(tmp_path) as tier:
        hit_rate(tier, HOT)
        hit_rate(tier, HOT)
        for _ in range(3):
            hit_rate(tier, SCANNED)
            assert hit_rate(tier, HOT) > 0.9


def test_nor_a_scan_that_offers_each_block_twice_while_others_are_asked_for(tmp_path):
    with tier_of(tmp_path) as tier:
        hit_rate(tier, HOT)
        rates = []
        for number, thing in enumerate(SCANNED):
            thing.offer(tier)
            thing.offer(tier)
            if number % 4 == 0:
                rates.append(hit_rate(tier, HOT))
        assert np.mean(rates) > 0.9
        assert tier.counters.evicted > 250


def test_what_is_used_again_and_again_gets_in_although_a_scan_was_there_first(tmp_path):
    with tier_of(tmp_path) as tier:
        hit_rate(tier, SCANNED)
        for _ in range(5):
            hit_rate(tier, HOT)
        assert hit_rate(tier, HOT) > 0.9
        hit_rate(tier, SCANNED)
        assert hit_rate(tier, HOT) > 0.9


def test_a_full_cache_takes_a_block_at_its_second_offer(tmp_path):
    with tier_of(tmp_path) as tier:
        for thing in SCANNED[:20]:
            thing.offer(tier)
        late = Thing(1000, BLOCK)
        late.offer(tier)
        assert not late.read(tier).any()
        late.offer(tier)
        assert late.read(tier).all()


# -------------------------------------------------------------------- threads
def test_threads_that_read_write_and_drop_see_right_bytes_only(tmp_path):
    """Each looks at objects of its own, as the cache has it; room is made among all of them."""
    things = [Thing(number, 8 * BLOCK + number) for number in range(24)]
    failures: list[BaseException] = []
    hits = [0]

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        try:
            for turn in range(200):
                thing = things[3 * int(random.integers(8) * random.random()) + seed]
                blocks = np.sort(random.permutation(thing.blocks)[: random.integers(1, 9)])
                here = thing.read(tier, blocks)
                hits[0] += int(here.sum())
                thing.offer(tier, blocks[~here])
                if turn % 60 == 59:
                    thing.drop(tier)
        except BaseException as error:
            failures.append(error)

    with tier_of(tmp_path) as tier:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert hits[0] > 500
        assert tier.counters.evicted > 50
        assert tier.counters.damaged == 0
        assert used(tmp_path) <= tier.counters.nbytes <= BUDGET


# -------------------------------------------------------------------- against a model
MODEL_THINGS = [
    Thing(number, size) for number, size in enumerate([1, BLOCK, 3 * BLOCK + 1, 9 * BLOCK, 14 * BLOCK])
]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["offer", "offer", "offer", "read", "drop", "reopen", "kill"]),
        st.integers(0, len(MODEL_THINGS) - 1),
        st.integers(0, 13),
        st.integers(1, 14),
    ),
    max_size=30,
)


@given(steps=STEPS, budget=st.sampled_from([4 * BLOCK, 15 * BLOCK, BUDGET]))
@settings(max_examples=50)
def test_it_never_holds_what_it_was_not_given(steps, budget):
    """Blocks may go at any time, so the model is what may be held, and with a large budget what must be."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "0"
        tier = DiskTier.open(folder, budget)
        given_blocks: list[set[int]] = [set() for _ in MODEL_THINGS]
        for turn, (what, number, first, count) in enumerate(steps):
            thing = MODEL_THINGS[number]
            blocks = thing.blocks[first : first + count]
            if what == "offer":
                thing.offer(tier, blocks)
                given_blocks[number].update(blocks.tolist())
            elif what == "drop":
                thing.drop(tier)
                given_blocks[number].clear()
            elif what in ("reopen", "kill"):
                if what == "kill":
                    shutil.copytree(folder, Path(name) / f"{turn + 1}")
                tier.close()
                folder = Path(name) / f"{turn + 1}" if what == "kill" else folder
                tier = DiskTier.open(folder, budget)
            for each, known in zip(MODEL_THINGS, given_blocks, strict=True):
                held = set(each.blocks[each.read(tier)].tolist())
                assert held <= known
                assert budget < BUDGET or held == known
            assert tier.counters.damaged == 0
            assert used(folder) <= budget
        tier.close()
