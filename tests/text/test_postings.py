"""Searching postings, against BM25 over lists of terms."""

from __future__ import annotations

import random
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiver.model.errors import CorruptObjectError, UnsupportedFormatError
from quiver.text import _kernels
from quiver.text.bm25 import distinct, weights
from quiver.text.postings import BytesBody, Postings
from text import reference
from text.test_postings_builder import built, opened

LIMITS = st.sampled_from([1, 2, 3, 10, 100, 5000])


class CountedBody(BytesBody):
    """A body that counts how often it is asked."""

    asked = 0

    def bytes_at(self, ranges):
        self.asked += 1
        return super().bytes_at(ranges)


def corpus(seed, rows, vocabulary, longest):
    """Random terms, some of them frequent, for about `rows` rows."""
    rng = random.Random(seed)
    documents = {}
    for row in range(rows):
        length = rng.randint(0, longest) * (20 if rng.random() < 0.01 else 1)
        documents[row] = [f"t{int(vocabulary * rng.random() ** 3)}" for _ in range(length)]
    return documents


def search_all(segments, query, limit):
    """The hits of several segments, ranked by scores of statistics of all of them.

    Args:
        segments: postings, first row and mask (of live rows) of each.
    """
    repeats = distinct(query)
    found = [postings.find(list(repeats)) for postings, _, _ in segments]
    statistics = [
        postings.statistics(lists, np.flatnonzero(~mask))
        for (postings, _, mask), lists in zip(segments, found, strict=True)
    ]
    documents = sum(each.documents for each in statistics)
    if not documents:
        return []
    frequencies = np.sum([each.frequencies for each in statistics], axis=0)
    weighted = weights(documents, frequencies.tolist(), repeats.values())
    average = sum(each.tokens for each in statistics) / documents
    hits = []
    for (postings, first, mask), lists in zip(segments, found, strict=True):
        rows, scores = postings.search(lists, weighted, average, None if mask.all() else mask, limit)
        assert np.array_equal(
            scores, postings.score(lists, weighted, average, np.sort(rows))[np.argsort(np.argsort(rows))]
        )
        hits += zip(scores.tolist(), (first + rows).tolist(), strict=True)
    return sorted(hits, key=lambda hit: (-hit[0], hit[1]))


@settings(max_examples=80, deadline=None)
@given(
    st.data(), st.integers(0, 10**6), st.integers(1, 300), st.sampled_from([3, 20, 300]), st.sampled_from([3, 12])
)
def test_any_split_into_segments_and_any_deletions_give_the_scores_of_the_live_rows(
    data, seed, rows, vocabulary, longest
):
    documents = corpus(seed, rows, vocabulary, longest)
    cuts = sorted({0, rows, *data.draw(st.lists(st.integers(0, rows), max_size=3))})
    alive = np.random.default_rng(seed).random(rows) >= data.draw(st.sampled_from([0, 0.1, 0.6, 1]))
    query = data.draw(st.lists(st.integers(0, vocabulary // 2).map("t{}".format), min_size=1, max_size=6))
    limit = data.draw(LIMITS)
    segments = [
        (opened({row - first: documents[row] for row in range(first, end)}, end - first), first, alive[first:end])
        for first, end in pairwise(cuts)
    ]
    expected = reference.ranking({row: documents[row] for row in range(rows) if alive[row]}, query)
    assert reference.best(search_all(segments, query, limit), limit) == reference.best(expected, limit)


@pytest.mark.parametrize(("rows", "vocabulary"), [(20_000, 40), (9000, 3000), (4097, 5)])
def test_many_windows_and_blocks_are_searched_exactly(rows, vocabulary):
    documents = corpus(rows, rows, vocabulary, 8)
    postings, everything = opened(documents), np.ones(rows, bool)
    rng = random.Random(rows)
    for _ in range(6):
        query = [
            f"t{int(vocabulary * rng.random() ** rng.choice([1, 3]))}" for _ in range(rng.choice([1, 2, 3, 5, 30]))
        ]
        expected = reference.ranking(documents, query)
        for limit in (1, 10, 1000):
            assert search_all([(postings, 0, everything)], query, limit) == reference.best(expected, limit)


def test_a_row_that_has_the_term_twice_is_found_among_longer_rows_that_are_not_good_enough():
    documents = {row: ["a", *["x"] * (9 if row < 5000 else 13)] for row in range(10_000)}
    documents[9000][5] = "a"
    expected = reference.ranking(documents, ["a"])
    assert expected[0][1] == 9000
    for limit in (1, 2):
        found = search_all([(opened(documents), 0, np.ones(10_000, bool))], ["a"], limit)
        assert found == reference.best(expected, limit)


def test_every_row_that_ties_with_the_last_is_a_hit():
    postings = opened({row: ["same"] if row % 3 else ["same", "more"] for row in range(10_000)})
    lists = postings.find(["same"])
    rows, scores = postings.search(lists, np.ones(1), 1.0, None, 5)
    assert rows.tolist() == [row for row in range(10_000) if row % 3]
    assert len(set(scores.tolist())) == 1


def test_only_rows_of_the_mask_are_hits():
    postings = opened(corpus(7, 9000, 30, 10))
    lists, weighted = postings.find(["t0", "t3", "t9"]), np.array([1.0, 2.0, 3.0])
    everything = postings.score(lists, weighted, 5.0, np.arange(9000))
    for seed, part in ((1, 0.5), (2, 0.001), (3, 0)):
        mask = np.random.default_rng(seed).random(9000) < part
        rows, scores = postings.search(lists, weighted, 5.0, mask, 50)
        allowed = np.flatnonzero(mask & (everything > 0))
        best = allowed[np.lexsort((allowed, -everything[allowed]))][: len(rows)]
        assert rows.tolist() == best.tolist()
        assert scores.tolist() == everything[best].tolist()
        assert len(rows) >= min(50, len(allowed))


def test_terms_are_found_in_a_dictionary_of_many_blocks():
    terms = sorted(
        {f"{number:x}" * (1 + number % 3) for number in range(20_000)} | {"é" * 64, "日本", "日", "\U0001f999"}
    )
    postings = opened({0: terms[::2], 1: terms})
    lists = postings.find(terms)
    assert lists.frequencies.tolist() == [2 if number % 2 == 0 else 1 for number in range(len(terms))]
    absent = [term + "?" for term in terms[:500]] + ["", "\x00", "\U0010ffff", "x" * 5000]
    assert not postings.find(absent).frequencies.any()
    assert postings.find([]).frequencies.tolist() == []


def test_each_step_asks_for_its_bytes_at_once():
    head, raw = built(corpus(3, 500, 5000, 40))
    body = CountedBody(raw)
    postings = Postings(head, body)
    assert (postings.body_bytes, body.asked) == (len(raw), 0)
    lists = postings.find(["t1", "t2000", "t4000", "absent"])
    assert body.asked == 1
    postings.statistics(lists, np.zeros(0, np.int64))
    assert body.asked == 1
    postings.statistics(lists, np.array([1, 5]))
    assert body.asked == 2
    postings.search(lists, np.ones(4), 3.0, None, 10)
    assert body.asked == 3
    postings.score(lists, np.ones(4), 3.0, np.array([4, 8]))
    assert body.asked == 4


def test_a_limit_of_nothing_finds_nothing():
    postings = opened({0: ["a"]})
    assert postings.search(postings.find(["a"]), np.ones(1), 1.0, None, 0).rows.tolist() == []


def use(head, body):
    """Do everything that can be done with postings."""
    postings = Postings(head, BytesBody(body))
    lists = postings.find(["t0", "t1", "t5", "t40", "absent"])
    postings.statistics(lists, np.arange(0, min(postings.rows, 3000), 7))
    rows, scores = postings.search(lists, np.ones(5), 3.0, None, 20)
    assert ((rows >= 0) & (rows < postings.rows)).all()
    assert np.isfinite(scores).all()
    postings.score(lists, np.ones(5), 3.0, np.arange(0, min(postings.rows, 3000), 5))


@settings(max_examples=400, deadline=None)
@given(
    st.booleans(), st.floats(0, 1, exclude_max=True), st.integers(1, 255), st.sampled_from(["flip", "cut", "fill"])
)
def test_damage_is_an_error_or_changes_numbers_but_nothing_worse(in_head, where, with_what, how):
    parts = [bytearray(part) for part in SMALL]
    part = parts[0 if in_head else 1]
    place = int(where * len(part))
    if how == "flip":
        part[place] ^= with_what
    elif how == "cut":
        del part[place:]
    else:
        part[place : place + 8] = bytes([with_what]) * len(part[place : place + 8])
    with suppress(CorruptObjectError, UnsupportedFormatError):
        use(*map(bytes, parts))


SMALL = built(corpus(5, 3000, 60, 8))


def test_every_byte_of_a_list_that_is_cut_is_missed():
    head, body = SMALL
    postings = Postings(head, BytesBody(body))
    lists = postings.find(["t0"])
    ((start, end),) = lists.ranges
    data = body[start:end]
    arguments = (lists.frequencies, np.ones(1), body[postings._lengths[0] : postings._lengths[1]], 3.0, 3000)
    rows, _ = _kernels.search([data], *arguments, None, 10)
    assert rows
    for size in range(len(data)):
        with pytest.raises(_kernels.DamagedError):
            _kernels.search([data[:size]], *arguments, None, 3000)


@pytest.mark.parametrize("size", [0, 1, 39, 41])
def test_a_head_that_was_cut_is_damaged(size):
    with pytest.raises(CorruptObjectError):
        Postings(SMALL.head[:size], BytesBody(SMALL.body))


def test_a_newer_version_is_refused():
    with pytest.raises(UnsupportedFormatError):
        Postings(b"\xff" + SMALL.head[1:], BytesBody(SMALL.body))


def kernel_arguments():
    postings = opened({0: ["a"]}, 2)
    lists = postings.find(["a"])
    (data,), lengths = postings._read(lists)
    return [[data], lists.frequencies, np.ones(1), lengths, 1.0, 2]


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        (0, []),
        (1, np.array([1, 1])),
        (1, np.array([1.0])),
        (2, np.ones(2)),
        (2, np.zeros(1)),
        (2, np.array([np.nan])),
        (2, np.ones(1, np.float32)),
        (3, memoryview(b"abc")),
        (4, 0.0),
        (4, float("inf")),
        (4, float("nan")),
        (5, -1),
        (5, 2**31),
    ],
)
def test_arguments_that_do_not_fit_are_refused(place, wrong):
    arguments = kernel_arguments()
    assert _kernels.search(*arguments, None, 5)
    arguments[place] = wrong
    with pytest.raises(ValueError, match=r"due|positive"):
        _kernels.search(*arguments, None, 5)
    with pytest.raises(ValueError, match=r"due|positive"):
        _kernels.score(*arguments, np.array([0]), np.zeros(1))


def test_rows_and_masks_that_do_not_fit_are_refused():
    arguments = kernel_arguments()
    for rows, scores in (([1, 0], 2), ([0, 0], 2), ([-1], 1), ([2], 1), ([0], 2)):
        with pytest.raises(ValueError, match="due"):
            _kernels.score(*arguments, np.array(rows), np.zeros(scores))
        if len(rows) == scores:
            with pytest.raises(ValueError, match="due"):
                _kernels.overlap(arguments[0][0], 1, 2, np.array(rows))
    for mask, limit in ((np.ones(3, bool), 5), (np.ones(2, np.uint8), 5), (None, 0)):
        with pytest.raises(ValueError, match="due"):
            _kernels.search(*arguments, mask, limit)
    with pytest.raises(TypeError):
        _kernels.search(*arguments, None)
    with pytest.raises(_kernels.DamagedError):
        _kernels.search([b"\xff"], *arguments[1:], None, 5)
