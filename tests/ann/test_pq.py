"""The contract on product quantization."""

from __future__ import annotations

import numpy as np
import pytest

from ann.codec_contract import CodecContract, lay_out, squares
from ann.samples import gaussian
from quiver.ann.codecs.pq import ProductQuantizer


class TestProductQuantizer(CodecContract):
    codec = ProductQuantizer
    within = 150
    error = 0.08

    @pytest.mark.parametrize(("dimension", "size"), [(1, 1), (8, 1), (9, 2), (13, 2), (300, 38), (384, 48)])
    def test_a_code_has_a_byte_for_every_eight_coordinates(self, dimension, size):
        rows = gaussian(10, dimension)
        assert (
            ProductQuantizer.train(rows, np.zeros(len(rows), np.int64), np.zeros_like(rows), 1).code_size == size
        )

    def test_few_rows_are_kept_exactly(self):
        """With no more rows than words, every word is a row."""
        segment, query = self.segment(gaussian(100, 8), count=1), gaussian(1, 8, seed=3)[0]
        hits = segment.scan(query)
        np.testing.assert_allclose(hits.scores, np.square(segment.rows - query).sum(axis=1)[hits.rows], rtol=1e-4)

    def test_codes_of_words_that_are_alike_mean_the_same(self):
        """Each of 64 rows is four words, and which of these is its code depends on the processor."""
        rows, none = gaussian(64, 16), np.zeros(64, np.int64)
        trained = ProductQuantizer.train(rows, none, rows[:1] * 0, 1)
        words = np.frombuffer(trained.encode(), np.float32)[-2 * 256 * 8 :].reshape(2, 256, 8)
        codes = trained.encode_rows(rows, none, rows[:1] * 0)
        others = np.empty_like(codes)
        for row, part in np.ndindex(codes.shape):
            alike = np.flatnonzero((words[part] == words[part, codes[row, part]]).all(axis=1))
            others[row, part] = alike[-1] if alike[-1] != codes[row, part] else alike[0]
        assert (others != codes).all()
        np.testing.assert_array_equal(trained.canonical(others), trained.canonical(codes))
        assert len(np.unique(trained.canonical(codes), axis=0)) == 64

    def test_a_codec_learns_offsets_from_origins(self):
        """Wherever the origins are."""
        rng = np.random.default_rng(1)
        origins = rng.normal(size=(40, 16)).astype(np.float32) * 30
        assigned = np.sort(rng.integers(0, 40, 2000))
        rows = origins[assigned] + gaussian(2000, 16)
        trained = ProductQuantizer.train(rows, assigned, origins, 1)
        lists = lay_out(trained.encode_rows(rows, assigned, origins), np.bincount(assigned, minlength=40), trained)
        hits = trained.scanner(lists, origins).scan(origins[3], np.array([3]), 2000)
        assert np.mean(np.abs(hits.scores - squares(origins[3], rows)[hits.rows])) < 8

    def test_a_codec_learns_from_a_sample_of_many_rows(self):
        rows = gaussian(40_000, 8)
        trained = ProductQuantizer.train(rows, np.zeros(len(rows), np.int64), np.zeros_like(rows), 1)
        codes = trained.encode_rows(rows[:5000], np.zeros(5000, np.int64), rows[:1] * 0)
        assert len(np.unique(codes)) > 200
