"""Tests of object names: built in one place, understood in one place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiver.format import paths
from quiver.format.paths import ObjectName, classify
from quiver.objectstore.keys import check_key

INDEX_ID, TOKEN = "0a" * 16, "fe" * 16
ROOT = paths.index_root(INDEX_ID)
NUMBER = st.integers(0, 2**63)


@given(NUMBER, NUMBER)
def test_every_name_is_understood_and_taken_by_stores(slot, generation):
    segment = paths.segment_id(generation, slot, TOKEN)
    for key, name in (
        (paths.log_key(ROOT, slot), ObjectName("log", slot=slot)),
        (paths.checkpoint_key(ROOT, generation), ObjectName("checkpoint", generation=generation)),
        (paths.segment_key(ROOT, segment, paths.ROWS), ObjectName("segment", slot, generation, segment)),
        (paths.segment_key(ROOT, segment, paths.SEGMENT_INDEX), ObjectName("segment", slot, generation, segment)),
        (paths.opening_key(ROOT), ObjectName("opening")),
        (paths.published_key(ROOT), ObjectName("published")),
        (paths.mark_key(ROOT, TOKEN), ObjectName("mark")),
    ):
        assert classify(ROOT, key) == name
        assert paths.index_of(key) == INDEX_ID
        check_key(key)


@given(NUMBER, NUMBER)
def test_the_order_of_names_is_the_order_of_numbers(one, other):
    assert (paths.log_key(ROOT, one) < paths.log_key(ROOT, other)) == (one < other)
    assert (paths.checkpoint_key(ROOT, one) < paths.checkpoint_key(ROOT, other)) == (one < other)


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "log",
        "log/",
        "log/1",
        "log/000000000000000G",
        "log/000000000000000A",
        "log/00000000000000001",
        "log/0000000000000001/x",
        "checkpoint/+000000000000001",
        "segment/0000000000000001/index",
        f"segment/0000000000000001-0000000000000001-{TOKEN}",
        f"segment/0000000000000001-0000000000000001-{TOKEN}/rows",
        f"segment/0000000000000001-0000000000000001-{TOKEN}/index/x",
        f"segment/0000000000000001-{TOKEN}/index",
        "mark/1",
        "opening/",
        "published/",
        "opening/1",
        "openings",
        "\u0661",
        "log/\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0661",
    ],
)
def test_other_names_are_unknown(rest):
    assert classify(ROOT, ROOT + rest).kind == "unknown"


def test_only_objects_of_an_index_have_an_owner():
    for key in (
        "format",
        "catalog/log/0000000000000001",
        "index/short/log/1",
        f"index/{INDEX_ID}",
        f"x{ROOT}log/1",
    ):
        assert paths.index_of(key) is None
