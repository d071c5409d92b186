"""What the benchmark of cold queries makes of its measurements."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.cold_query import COUNTED, STAGES, ratios, row, trace
from benchmarks.datasets import Truth
from benchmarks.request_log import Record


def runs(*milliseconds):
    return [{"query": {"ms": one}} for one in milliseconds]


def test_medians_are_compared_with_each_other_contender_stage_by_stage():
    results = {
        "one": {"quiver": runs(10, 1, 9), "a": runs(90, 18, 1), "b": runs(9, 9, 9)},
        "two": {"quiver": runs(5), "a": runs(20), "b": runs(10)},
    }
    assert ratios(results) == {"one": {"a": pytest.approx(0.5), "b": 1.0}, "two": {"a": 0.25, "b": 0.5}}


def test_without_quiver_there_is_nothing_to_compare():
    assert ratios({"one": {"a": runs(1)}}) == {"one": {}}


def test_a_trace_tells_times_from_the_beginning_of_the_query():
    record = Record("one", "GET", "some/key", 206, 0, 42, 10.0, 10.05, 0.0)
    assert trace(record, 10.01) == "-10.0 to 40.0: GET some/key 42"


def test_rounds_are_told_of_the_stage_in_which_requests_take_longer_than_what_is_computed(monkeypatch):
    truth = Truth(np.arange(10)[np.newaxis], np.ones((1, 10)))
    monkeypatch.setattr("benchmarks.cold_query.load", lambda _: None)
    monkeypatch.setattr("benchmarks.cold_query.truth", lambda _: truth)
    spent = {"ms": 1.0, "requests": 7, "rounds": 3, "MB": 1.0, "dollars a million": 1.0, "late ms": 0.0}
    found = [{"found": list(range(10)), "query": spent}]
    told = {stage: row("set", stage, "quiver", found, "query")["rounds"] for stage in STAGES}
    assert told == dict.fromkeys(STAGES, "") | {COUNTED: "3 (at most 3)"}
    assert STAGES[COUNTED].median >= 0.5
