"""Tests of what the disk tier takes and gives up: it stays within its budget, and scans do not empty it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from quiver.storage.cache import slab as slab_module
from quiver.storage.cache.slab import OVERHEAD
from storage.cache.kept import BLOCK, BUDGET, Thing, slabs, tier_of, used

if TYPE_CHECKING:
    from quiver.storage.cache.disk_tier import DiskTier


# -------------------------------------------------------------------- the budget
@pytest.mark.parametrize("budget", [BUDGET, 24 * BLOCK, 1000 * BLOCK + 7])
def test_the_budget_is_never_passed(tmp_path, monkeypatch, budget):
    """Looked at after every write to a file, with what is appended again and the index of each slab."""
    most = [0]

    def watched(function):
        def call(*args):
            result = function(*args)
            most[0] = max(most[0], used(tmp_path))
            return result

        return call

    monkeypatch.setattr(slab_module.os, "pwritev", watched(os.pwritev))
    monkeypatch.setattr(slab_module.os, "pwrite", watched(os.pwrite))
    things = [Thing(number, 50 * BLOCK + number) for number in range(30)]
    random = np.random.default_rng(0)
    with tier_of(tmp_path, budget) as tier:
        for turn in range(150):
            thing = things[int(random.integers(30) * random.random())]
            thing.read(tier)
            thing.offer(tier)
            assert tier.counters.nbytes == used(tmp_path)
            if turn % 40 == 20:
                tier.drop(thing.name)
        assert tier.counters.evicted > 0
    assert 0.7 * budget < most[0] <= budget
    largest = max(path.stat().st_size for path in slabs(tmp_path))
    assert largest <= max(budget // 32, min(budget // 8, 8 * (BLOCK + OVERHEAD))), "its index had no room"
    assert used(tmp_path) <= budget


def test_a_smaller_budget_keeps_the_newest(tmp_path):
    things = [Thing(number, 18 * BLOCK) for number in range(10)]
    with tier_of(tmp_path) as tier:
        for thing in things:
            thing.offer(tier)
        assert all(thing.read(tier).all() for thing in things)
    with tier_of(tmp_path, BUDGET // 4) as tier:
        assert used(tmp_path) <= BUDGET // 4
        assert things[-1].read(tier).all()
        assert not things[0].read(tier).any()
        for number in range(20, 30):
            Thing(number, 20 * BLOCK).offer(tier)
        assert used(tmp_path) <= BUDGET // 4


def test_a_budget_for_less_than_eight_blocks_keeps_nothing(tmp_path):
    thing = Thing(1, 3 * BLOCK)
    with tier_of(tmp_path) as tier:
        thing.offer(tier)
    for budget in (0, 1, 8 * BLOCK):
        with tier_of(tmp_path, budget) as tier:
            thing.offer(tier)
            thing.offer(tier)
            assert not thing.read(tier).any()
            assert used(tmp_path) == 0
            assert tier.counters.refused + tier.counters.admitted <= 6


# -------------------------------------------------------------------- admission
def fetched(tier: DiskTier, thing: Thing) -> np.ndarray:
    """Read an object as a query does: what is not here comes from the store, and is offered. Which was here."""
    here = thing.read(tier)
    thing.offer(tier, thing.blocks[~here])
    return here


def hit_rate(tier: DiskTier, things: list[Thing]) -> float:
    return float(np.mean([fetched(tier, thing) for thing in things]))


HOT = [Thing(number, 16 * BLOCK) for number in range(8)]  # half the budget
SCANNED = [Thing(100 + number, 16 * BLOCK) for number in range(160)]  # ten times the budget


def test_a_scan_does_not_push_out_what_is_used_again_and_again(tmp_path):
    with tier_of(tmp_path) as tier:
        hit_rate(tier, HOT)
        hit_rate(tier, HOT)
        hit_rate(tier, SCANNED)
        assert hit_rate(tier, HOT) > 0.9


def test_neither_do_many_scans(tmp_path):
    with tier_of(tmp_path) as tier:
        hit_rate(tier, HOT)
        for _ in range(4):
            hit_rate(tier, HOT)
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
        assert tier.counters.evicted > 1000


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


def test_what_was_read_is_appended_again_when_its_slab_goes(tmp_path):
    """One block in four is: the others of its slab are evicted, and it stays, through any number of rounds."""
    kept, filling = Thing(1, 160 * BLOCK), [Thing(10 + number, 16 * BLOCK) for number in range(60)]
    with tier_of(tmp_path) as tier:
        kept.offer(tier)
        for thing in filling:
            assert kept.read(tier, kept.blocks[::4]).all()
            thing.offer(tier)
            thing.offer(tier)
        assert tier.counters.evicted > 3 * 256
        assert kept.read(tier).sum() == 40


def test_a_block_that_is_offered_again_although_it_is_here_counts_as_read(tmp_path):
    kept = Thing(1, 10 * BLOCK)
    with tier_of(tmp_path) as tier:
        kept.offer(tier)
        for number in range(60):
            kept.offer(tier)
            for _ in range(2):
                Thing(10 + number, 16 * BLOCK).offer(tier)
        assert tier.counters.evicted > 3 * 256
        assert kept.read(tier).all()


def test_room_that_dropped_objects_took_is_used_at_once(tmp_path):
    old = [Thing(number, 100 * BLOCK) for number in range(3)]
    new = Thing(10, 100 * BLOCK)
    with tier_of(tmp_path) as tier:
        for thing in old:
            thing.offer(tier)
        kept = old[1].read(tier).sum()
        tier.drop(old[0].name)
        new.offer(tier)
        assert new.read(tier).sum() >= 80
        assert old[1].read(tier).sum() == kept, "what is dead goes before what is old"
