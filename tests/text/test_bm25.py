"""The numbers of BM25."""

from __future__ import annotations

import math

import pytest

from quiver.text.bm25 import distinct, score, weights


def test_distinct_terms_keep_the_order_of_the_query():
    assert list(distinct(["b", "a", "b", "c", "a", "b"]).items()) == [("b", 3), ("a", 2), ("c", 1)]


def test_weights_are_those_of_lucene():
    found = weights(10, [1, 10, 0], [1, 2, 1])
    assert found.tolist() == [math.log(1 + 9.5 / 1.5), 2 * math.log(1 + 0.5 / 10.5), math.log(1 + 10.5 / 0.5)]
    assert (found > 0).all()


def test_a_score_is_computed_by_hand():
    # Two of two terms, one twice, in a row of twice the average length: norm = 1.2 * (0.25 + 0.75 * 2) = 2.1.
    assert score([2.0, 3.0, 5.0], [2, 0, 1], 8, 4.0) == pytest.approx(2 * 2 / 4.1 + 5 * 1 / 3.1, rel=1e-15)
    assert score([2.0], [0], 8, 4.0) == 0
