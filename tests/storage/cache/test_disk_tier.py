"""Tests of the disk tier: what it gives is what it was given, for any number of threads."""

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

from quiver.storage.cache.slab import HEADER, Slab
from quiver.storage.cache.view import BLOCK as REAL_BLOCK
from storage.cache.kept import BLOCK, BUDGET, Thing, descriptors, opened, tier_of, used


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
        assert tier.counters.nbytes == used(tmp_path) == 4 * (BLOCK + HEADER.size)


def test_blocks_of_the_usual_size(tmp_path):
    thing = Thing(1, 40 * REAL_BLOCK + 1000, REAL_BLOCK)
    with tier_of(tmp_path, 16 << 20, REAL_BLOCK) as tier:
        thing.offer(tier)
        assert thing.read(tier).all()
    with tier_of(tmp_path, 16 << 20, REAL_BLOCK) as tier:
        assert thing.read(tier, thing.blocks[::-3]).all()


def test_the_last_block_is_shorter(tmp_path):
    thing, tiny = Thing(1, 2 * BLOCK + 5), Thing(2, 1)
    with tier_of(tmp_path) as tier:
        thing.offer(tier)
        tiny.offer(tier)
        assert thing.read(tier).all()
        assert tiny.read(tier).all()


def test_a_block_of_another_length_than_expected_is_dropped(tmp_path):
    thing = Thing(1, 2 * BLOCK)
    with tier_of(tmp_path) as tier:
        thing.offer(tier)
        assert tier.read(thing.name, thing.blocks, 2 * BLOCK - 1).blocks.tolist() == [0]
        assert tier.counters.damaged == 1
        assert thing.read(tier).tolist() == [True, False]


def test_blocks_outside_the_object_are_neither_taken_nor_found(tmp_path):
    thing = Thing(1, 2 * BLOCK)
    outside = np.array([-1, 2, 1 << 50, -(1 << 62)])
    with tier_of(tmp_path) as tier:
        thing.offer(tier, outside)
        assert tier.counters.admitted == 0
        assert not thing.known(tier, outside).any()
        assert not thing.read(tier, outside).any()
        thing.offer(tier, thing.blocks[:0])
        assert thing.read(tier, thing.blocks[:0]).shape == (0,)


def test_a_block_is_written_once(tmp_path):
    thing = Thing(1, 3 * BLOCK)
    with tier_of(tmp_path) as tier:
        thing.offer(tier)
        thing.offer(tier)
        thing.offer(tier, np.array([1, 1, 0]))
        assert (tier.counters.admitted, tier.counters.refused) == (3, 0)
        assert used(tmp_path) == 3 * (BLOCK + HEADER.size)


def test_a_dropped_object_is_gone_also_after_a_restart(tmp_path):
    thing, other = Thing(1, 30 * BLOCK), Thing(2, 30 * BLOCK)
    with tier_of(tmp_path) as tier:
        thing.offer(tier)
        other.offer(tier)
        tier.drop(thing.name)
        assert not thing.known(tier).any()
        assert not thing.read(tier).any()
        assert other.read(tier).all()
    with tier_of(tmp_path) as tier:
        assert not thing.read(tier).any()
        assert other.read(tier).all()
        thing.offer(tier)
        assert thing.read(tier).all()


def test_an_object_is_named_by_16_bytes(tmp_path):
    with tier_of(tmp_path) as tier, pytest.raises(ValueError, match="16 bytes"):
        tier.read(b"short", np.arange(3), BLOCK)


def test_after_closing_nothing_is_found_and_nothing_taken(tmp_path):
    thing = Thing(1, 3 * BLOCK)
    tier = opened(tmp_path, BUDGET)
    thing.offer(tier)
    tier.close()
    tier.close()
    before = used(tmp_path)
    assert not thing.known(tier).any()
    assert not thing.read(tier).any()
    thing.offer(tier)
    assert used(tmp_path) == before


# -------------------------------------------------------------------- threads
def test_a_slab_may_be_evicted_while_it_is_read(tmp_path, monkeypatch):
    thing = Thing(1, 3 * BLOCK)
    others = [Thing(10 + number, 16 * BLOCK) for number in range(40)]
    before = descriptors()
    with tier_of(tmp_path) as tier:
        thing.offer(tier)
        read = Slab.read

        def evicted_meanwhile(slab, entries, into):
            monkeypatch.setattr(Slab, "read", read)
            for other in others:
                other.offer(tier)
                other.offer(tier)
            assert used(tmp_path) <= BUDGET
            assert os.fstat(slab._fd).st_nlink == 0, "its descriptor must not be another file's by now"
            return read(slab, entries, into)

        monkeypatch.setattr(Slab, "read", evicted_meanwhile)
        assert not thing.read(tier).any()
        assert tier.counters.damaged == 0
        assert tier.counters.evicted > 100
        assert others[-1].read(tier).any()
    assert descriptors() == before


def test_threads_that_read_write_and_drop_see_right_bytes_only(tmp_path):
    things = [Thing(number, 24 * BLOCK + number) for number in range(24)]
    failures: list[BaseException] = []
    hits = [0]

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        try:
            for turn in range(250):
                thing = things[int(random.integers(24) * random.random())]
                blocks = random.permutation(thing.blocks)[: random.integers(1, 25)]
                here = thing.read(tier, blocks)
                hits[0] += int(here.sum())
                thing.offer(tier, blocks[~here])
                assert thing.known(tier, blocks).shape == blocks.shape
                if turn % 60 == 59:
                    tier.drop(thing.name)
        except BaseException as error:
            failures.append(error)

    with tier_of(tmp_path) as tier:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert hits[0] > 1000
        assert tier.counters.evicted > 100
        assert tier.counters.damaged == 0
        assert tier.counters.nbytes == used(tmp_path) <= BUDGET


# -------------------------------------------------------------------- against a model
MODEL_THINGS = [
    Thing(number, size) for number, size in enumerate([1, BLOCK, 7 * BLOCK + 1, 40 * BLOCK, 60 * BLOCK])
]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["offer", "offer", "offer", "read", "drop", "reopen", "kill"]),
        st.integers(0, len(MODEL_THINGS) - 1),
        st.integers(0, 59),
        st.integers(1, 60),
    ),
    max_size=40,
)


@given(steps=STEPS, budget=st.sampled_from([16 * BLOCK, 60 * BLOCK, BUDGET]))
@settings(max_examples=120)
def test_it_never_holds_what_it_was_not_given(steps, budget):
    """Blocks may go at any time, so the model is what may be held, and with a large budget what must be."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "0"
        tier = opened(folder, budget)
        given_blocks: list[set[int]] = [set() for _ in MODEL_THINGS]
        for turn, (what, number, first, count) in enumerate(steps):
            thing = MODEL_THINGS[number]
            blocks = thing.blocks[first : first + count]
            if what == "offer":
                thing.offer(tier, blocks)
                given_blocks[number].update(blocks.tolist())
            elif what == "drop":
                tier.drop(thing.name)
                tier.close()  # which makes it last
                given_blocks[number].clear()
                tier = opened(folder, budget)
            elif what in ("reopen", "kill"):
                if what == "kill":
                    shutil.copytree(folder, Path(name) / f"{turn + 1}")
                tier.close()
                folder = Path(name) / f"{turn + 1}" if what == "kill" else folder
                tier = opened(folder, budget)
            for each, known in zip(MODEL_THINGS, given_blocks, strict=True):
                held = set(each.blocks[each.read(tier)].tolist())
                assert held <= known
                assert budget < BUDGET or held == known
            assert tier.counters.damaged == 0
            assert used(folder) <= budget
        tier.close()
