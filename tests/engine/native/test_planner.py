"""Tests of the planner: numbers in, a plan out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from quiver.engine.native.planner import Method, Shape, plan


class Table:
    """A calibration whose answers are simple: a partition per thousand nearest rows, three codes per row."""

    def partitions_for(self, rank: float, recall: float) -> int:
        return 1 + int(rank / 1000)

    def margin_for(self, rank: float, recall: float) -> float:
        return rank

    def error_for(self, rank: float, recall: float) -> float:
        return rank / 10

    def depth_for(self, rank: float, recall: float) -> int:
        return int(3 * rank)


LARGE = Shape(1_000_000, 2000, Table(), coded=True, refined=True)


def of(shape: Shape, matches: int, limit: int = 10, recall: float = 0.98, *, filtered: bool = False):
    return plan(shape, matches, limit, recall, filtered=filtered)


def test_nothing_is_done_where_nothing_matches():
    assert of(LARGE, 0).method is Method.NONE
    assert of(structs.replace(LARGE, calibration=None), 0).method is Method.NONE


def test_a_large_segment_is_probed():
    chosen = of(LARGE, LARGE.rows)
    assert (chosen.method, chosen.partitions, chosen.depth, chosen.keep) == (Method.PROBE, 1, 30, None)
    assert of(LARGE, LARGE.rows, limit=5000).partitions == 6


def test_a_recall_of_one_is_exact():
    assert of(LARGE, LARGE.rows, recall=1.0).method is Method.SCAN
    assert of(LARGE, 1000, recall=1.0).method is Method.GATHER


def test_a_segment_without_calibration_is_searched_exactly():
    shape = structs.replace(LARGE, calibration=None)
    assert of(shape, shape.rows).method is Method.SCAN
    assert of(shape, shape.rows // 10).method is Method.GATHER


def test_few_matches_are_picked_out_one_by_one():
    assert of(LARGE, 100, filtered=True).method is Method.GATHER
    assert of(LARGE, 1, limit=100, filtered=True).method is Method.GATHER


def test_matches_are_picked_out_as_long_as_that_is_cheaper_than_scoring_codes_in_two_waves():
    """The probe of a tenth of the rows scores the codes of two partitions in a hundred."""
    shape = Shape(20_000, 100, Table(), coded=True, refined=True)
    methods = [of(shape, matches, filtered=True).method for matches in (200, 1000, 2000, 20_000)]
    assert methods == [Method.GATHER, Method.GATHER, Method.PROBE, Method.PROBE]
    assert of(shape, 1000).method is Method.PROBE  # one wave is enough for rows that lie as all do


def test_fewer_matches_ask_for_more_partitions():
    counts = [of(LARGE, matches, filtered=True).partitions for matches in (LARGE.rows, 500_000, 100_000, 20_000)]
    assert counts == sorted(counts)
    assert counts[-1] <= LARGE.partitions


def test_many_codes_are_sifted_by_int8_where_there_are_int8_rows():
    chosen = of(LARGE, LARGE.rows, limit=100)
    assert (chosen.depth, chosen.keep) == (300, 216)
    assert of(LARGE, LARGE.rows, limit=20).keep is None  # so few are scored at once
    assert of(structs.replace(LARGE, refined=False), LARGE.rows, limit=100).keep is None


def test_a_small_segment_is_scanned():
    assert of(structs.replace(LARGE, rows=500, partitions=45), 500).method is Method.SCAN


@given(
    rows=st.integers(1, 10**7),
    share=st.floats(0, 1),
    limit=st.integers(1, 2000),
    recall=st.floats(0.5, 1),
    partitions=st.integers(1, 5000),
    calibrated=st.booleans(),
    coded=st.booleans(),
    refined=st.booleans(),
    filtered=st.booleans(),
)
def test_every_plan_can_be_carried_out(
    rows, share, limit, recall, partitions, calibrated, coded, refined, filtered
):
    shape = Shape(rows, partitions, Table() if calibrated else None, coded=coded, refined=refined)
    matches = int(rows * share)
    chosen = plan(shape, matches, limit, recall, filtered=filtered)
    assert (chosen.method is Method.NONE) == (matches == 0)
    if chosen.method is Method.PROBE:
        assert calibrated
        assert recall < 1
        assert 1 <= chosen.partitions <= partitions
        assert chosen.depth >= limit
        if chosen.keep is not None:
            assert refined
            assert limit < chosen.keep < chosen.depth
    else:
        assert chosen == (chosen.method, 0, 0, None, None, None)


@pytest.mark.parametrize("matches", [1, 100, 10_000, 1_000_000])
def test_no_plan_reads_much_more_than_an_exact_search(matches):
    chosen = of(LARGE, matches, limit=1000, filtered=True)
    if chosen.method is Method.PROBE:
        assert chosen.depth < min(matches, LARGE.rows)
