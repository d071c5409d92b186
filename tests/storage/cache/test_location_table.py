"""Tests of the location table: it does what a dictionary does, also when it is crowded and when keys collide."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quiver.storage.cache.location_table import ABSENT, LocationTable, keys_of

# The low bits choose the place and the high bits the way on: few of either make for long chains.
KEYS = st.sampled_from([low | high << 32 for low in (0, 1, 64, 1 << 20) for high in range(8)])
STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "remove"]), st.dictionaries(KEYS, st.integers(0, 3))), max_size=40
)


def arrays(pairs):
    return np.array(list(pairs), np.uint64), np.array(list(pairs.values()), np.int64)


@given(STEPS)
def test_it_does_what_a_dictionary_does(steps):
    table, model = LocationTable(), {}
    everything = np.array([low | high << 32 for low in (0, 1, 64, 1 << 20, 7) for high in range(8)], np.uint64)
    for what, pairs in steps:
        keys, locations = arrays(pairs)
        if what == "put":
            table.put(keys, locations)
            model.update(pairs)
        else:
            there = table.remove(keys, locations)
            assert there.tolist() == [model.get(key) == location for key, location in pairs.items()]
            model = {key: location for key, location in model.items() if pairs.get(key) != location}
        assert table.find(everything).tolist() == [model.get(key, ABSENT) for key in everything.tolist()]


def test_it_grows_and_forgets_what_was_removed():
    table = LocationTable()
    random = np.random.default_rng(0)
    objects = random.integers(0, 1 << 63, (20, 2)).astype(np.uint64)
    for turn, words in enumerate(objects):
        table.put(keys_of(words[None], np.arange(5000)), turn * 5000 + np.arange(5000))
        if turn:
            before = keys_of(objects[turn - 1][None], np.arange(5000))
            assert table.remove(before, (turn - 1) * 5000 + np.arange(5000)).all()
            assert (table.find(before) == ABSENT).all()
    last = keys_of(objects[-1][None], np.arange(5000))
    assert table.find(last).tolist() == list(range(19 * 5000, 20 * 5000))
    assert len(table._keys) <= 4 * 2 * 5000, "what is gone must not take memory for ever"


def test_blocks_of_objects_have_keys_of_their_own():
    random = np.random.default_rng(1)
    objects = random.integers(0, 1 << 63, (50, 2)).astype(np.uint64)
    keys = [keys_of(words[None], np.arange(2000)) for words in objects]
    assert len(np.unique(np.concatenate(keys))) == 50 * 2000
    several = keys_of(objects, np.full(50, 7))
    assert several.tolist() == [of_object[7] for of_object in keys]
