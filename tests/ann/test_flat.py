"""The contract on the codec that keeps rows as they are."""

from __future__ import annotations

import numpy as np
import pytest

from ann.contract import METRICS, CodecContract, gaussian
from quiver.ann.codecs.flat import Flat
from quiver.ann.distance import norms


class TestFlat(CodecContract):
    codec = Flat

    def test_codes_are_views_of_the_rows(self):
        rows = gaussian(10, 4)
        assert np.shares_memory(Flat(4).encode_rows(rows, rows[0]), rows)

    @METRICS
    @pytest.mark.parametrize("scale", [1, 1e-8, 1e8])
    def test_margins_are_narrow_enough_to_tell_rows_apart(self, metric, scale):
        rows = gaussian(1000, 128) * np.float32(scale)
        flat, origin = Flat(128), np.zeros(128, np.float32)
        query = gaussian(1, 128, seed=2)[0] * np.float32(scale)
        estimate, margin = flat.scorer(query, origin, metric)(flat.encode_rows(rows, origin), norms(rows))
        worst = np.sort(estimate + margin)[9]
        assert (estimate - margin <= worst).sum() < 30
