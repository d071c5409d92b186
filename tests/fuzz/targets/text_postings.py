"""Postings of a text field, head and body of anybody's making: found, counted, searched and scored in C."""

from __future__ import annotations

import struct

import numpy as np

from quiver.model.errors import DataError
from quiver.text.postings import BytesBody, Postings, TermLists
from text.test_postings import corpus
from text.test_postings_builder import built

LENGTH = struct.Struct("<I")
TERMS = ["t0", "t1", "t7", "none", "long" * 40]
MOST = 5000
"""Rows that a mask is made for; a head may name billions."""


def _packed(head: bytes, body: bytes) -> bytes:
    return LENGTH.pack(len(head)) + head + body


SEEDS = [
    _packed(*built(documents))
    for documents in (
        {0: ["t0", "t1"], 2: ["t0"] * 300, 5: ["t7", "long" * 40]},
        corpus(1, 400, 60, 12),
        {row: ["t0", *(f"t{n}" for n in range(row % 9))] for row in range(700)},
    )
]


def run(data: bytes) -> None:
    """The length of the head, the head, and the body."""
    if len(data) < LENGTH.size:
        return
    (length,) = LENGTH.unpack_from(data)
    head, body = data[LENGTH.size :][:length], data[LENGTH.size :][length:]
    try:
        postings = Postings(head, BytesBody(body))
        lists = postings.find(TERMS)
    except DataError:
        return
    for use in (_count, _search, _score):
        try:
            use(postings, lists)
        except DataError:
            continue


def _count(postings: Postings, lists: TermLists) -> None:
    dead = np.array([row for row in (0, 1, 5, 300) if row < postings.rows], np.int64)
    found = postings.statistics(lists, dead)
    assert 0 <= found.documents <= postings.documents
    assert 0 <= found.tokens <= postings.tokens


def _search(postings: Postings, lists: TermLists) -> None:
    weights = np.linspace(2, 0.5, len(TERMS))
    masks = [None, np.arange(postings.rows) % 3 > 0] if postings.rows <= MOST else [None]
    for mask in masks:
        hits = postings.search(lists, weights, 3.5, mask, 7)
        assert len(hits.rows) == len(hits.scores)
        if len(hits.rows):
            assert 0 <= hits.rows.min() <= hits.rows.max() < postings.rows
            assert len(set(hits.rows.tolist())) == len(hits.rows)
            assert mask is None or mask[hits.rows].all()


def _score(postings: Postings, lists: TermLists) -> None:
    rows = np.array([row for row in (0, 2, 5, 399) if row < postings.rows], np.int64)
    scores = postings.score(lists, np.linspace(2, 0.5, len(TERMS)), 3.5, rows)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()
