"""Making postings."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from quiver.text.postings import BytesBody, Postings
from quiver.text.postings_builder import PostingsBuilder


def built(documents, rows=None):
    builder = PostingsBuilder()
    for row, terms in documents.items():
        builder.add(row, terms)
    return builder.finish(max(documents, default=-1) + 1 if rows is None else rows)


def opened(documents, rows=None):
    head, body = built(documents, rows)
    return Postings(head, BytesBody(body))


def test_the_bytes_depend_on_the_rows_only():
    terms = [f"term {number}" for number in range(3000)]
    assert built({1: terms, 4: terms[:50]}) == built({1: terms[::-1], 2: [], 4: terms[:50]})


@pytest.mark.parametrize("rows", [0, 5])
def test_a_field_that_no_row_has_takes_a_few_bytes(rows):
    head, body = built({}, rows)
    assert (len(head), body) == (40, b"")
    empty = Postings(head, BytesBody(body))
    assert (empty.rows, empty.documents, empty.tokens, empty.body_bytes) == (rows, 0, 0, 0)
    lists = empty.find(["a", "b"])
    assert lists.frequencies.tolist() == [0, 0]
    assert empty.statistics(lists, np.arange(rows))[:2] == (0, 0)
    assert empty.search(lists, np.ones(2), 1.0, None, 10).rows.tolist() == []
    assert empty.score(lists, np.ones(2), 1.0, np.arange(rows)).tolist() == [0.0] * rows


def test_rows_have_to_ascend_and_to_be_counted():
    builder = PostingsBuilder()
    builder.add(3, ["a"])
    for row in (3, 2, -1, 2**31):
        with pytest.raises(ValueError, match="ascend"):
            builder.add(row, ["a"])
    for rows in (3, -1, 2**31):
        with pytest.raises(ValueError, match="rows"):
            builder.finish(rows)
    assert Postings(builder.finish(4).head, BytesBody(b"")).documents == 1
    with pytest.raises(ValueError, match="ascend"):
        builder.add(5, ["a"])
    with pytest.raises(ValueError, match="finished"):
        builder.finish(9)


@pytest.mark.parametrize("term", ["", "x" * 257, "é" * 129])
def test_a_term_is_neither_empty_nor_too_long(term):
    with pytest.raises(ValueError, match="term"):
        PostingsBuilder().add(0, [term])


@pytest.mark.parametrize("terms", [[b"bytes"], [None], [1], 5])
def test_terms_are_strings(terms):
    with pytest.raises(TypeError):
        PostingsBuilder().add(0, terms)


def test_lengths_and_frequencies_saturate():
    postings = opened({0: ["a"] * 70000, 1: ["a"] * 65535, 2: ["b"]})
    assert (postings.documents, postings.tokens) == (3, 2 * 65535 + 1)
    scores = postings.score(postings.find(["a"]), np.ones(1), 10.0, np.arange(3))
    assert scores[0] == scores[1] > scores[2] == 0


def test_common_words_take_about_a_byte_a_row():
    rng = np.random.default_rng(1)
    documents = {row: ["common"] for row in np.flatnonzero(rng.random(100_000) < 0.3).tolist()}
    head, body = built(documents, 100_000)
    assert len(head) < 100
    assert len(body) - 100_000 < 0.9 * len(documents)  # but for the lengths


def test_the_memory_of_a_builder_is_a_few_bytes_for_each_posting():
    """Python allocates nothing for what has been added; the rest is in the process (benchmarks)."""
    vocabulary = [f"word{number}" for number in range(1000)]
    builder = PostingsBuilder()
    builder.add(0, vocabulary)
    tracemalloc.start()
    for row in range(1, 2000):
        builder.add(row, vocabulary[row % 500 : row % 500 + 50])
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 20_000
