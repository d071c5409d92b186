"""The contract on scalar quantization."""

from __future__ import annotations

import numpy as np

from ann.codec_contract import CodecContract
from ann.samples import gaussian
from quiver.ann.codecs.sq8 import ScalarQuantizer8
from quiver.ann.refiner import Refiner


class TestScalarQuantizer8(CodecContract):
    codec = ScalarQuantizer8
    within = 12
    error = 0.001

    def test_codes_are_byte_rows_so_that_none_are_needed_beside(self):
        rows = gaussian(50, 8)
        trained = ScalarQuantizer8.train(rows, np.zeros(len(rows), np.int64), np.zeros_like(rows), 1)
        codes = trained.encode_rows(rows, np.zeros(50, np.int64), rows[:1])
        assert codes.tobytes() == Refiner.train(rows).encode_rows(rows).tobytes()
        assert not trained.refined

    def test_scores_are_those_of_byte_rows(self):
        segment, query = self.segment(gaussian(80, 24)), gaussian(1, 24, seed=1)[0]
        hits, byte_rows = segment.scan(query), Refiner.train(segment.rows)
        scores = byte_rows.score(query, byte_rows.encode_rows(segment.rows))
        np.testing.assert_allclose(hits.scores, scores[hits.rows], rtol=1e-5)
