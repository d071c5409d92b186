"""Tests of the terms of the tail: the scores of rows are those of bm25.score, however the rows came."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quiver.engine.native.tail_texts import ABSENT, TailTexts, best_rows
from quiver.model.types import TextField
from quiver.text.bm25 import score

FIELD = TextField("t")
TEXTS = st.lists(
    st.sampled_from(["", "one", "one two two", "three", "two one one four", "five " * 40]), max_size=40
)


def metadata(texts):
    return [b'{"t":"%s"}' % text.encode() for text in texts]


@given(TEXTS, st.lists(st.integers(0, 40), max_size=5), st.integers(1, 50))
def test_scores_and_counts_are_those_of_plain_lists(texts, stops, average):
    known, stored = TailTexts(FIELD), metadata(texts)
    for stop in stops:  # in any order: a reader of an older commit sees fewer rows
        rows = min(stop, len(texts))
        found = known.of(0, stored, rows)
        assert len(found.lengths) == rows
        assert (found.rows < rows).all()
    found = known.of(0, stored, len(texts))
    words = ["two", "one", "nowhere", "five"]
    numbers = known.numbers(words)
    held = {word for text in texts for word in text.split()}
    assert [number == ABSENT for number in numbers] == [word not in held for word in words]
    weights = np.array([0.7, 1.3, 2.0, 0.1])
    expected = [
        score(weights, [text.split().count(word) for word in words], len(text.split()), float(average))
        for text in texts
    ]
    assert found.score(numbers, weights, float(average)).tolist() == expected
    visible = np.arange(len(texts)) % 3 > 0
    seen = [text.split() for number, text in enumerate(texts) if number % 3]
    counted = found.statistics(numbers, visible)
    assert counted.documents == sum(bool(text) for text in seen)
    assert counted.tokens == sum(map(len, seen))
    assert counted.frequencies.tolist() == [sum(word in text for text in seen) for word in words]


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), max_size=20), st.integers(1, 25))
def test_the_best_rows_come_with_all_that_tie_with_the_last(scores, limit):
    mask = np.arange(len(scores)) % 4 != 1
    found = best_rows(np.array(scores, np.float64), mask, limit)
    ranked = sorted((-value, row) for row, value in enumerate(scores) if value > 0 and mask[row])
    last = ranked[:limit][-1][0] if ranked else 0.0
    assert list(zip((-found.scores).tolist(), found.rows.tolist(), strict=True)) == [
        each for each in ranked if each[0] <= last
    ]


def test_memory_of_terms_counts():
    known = TailTexts(FIELD)
    assert known.nbytes == 0
    known.of(0, metadata(["one two"] * 100), 100)
    assert known.nbytes > 100 * 2 * 8
