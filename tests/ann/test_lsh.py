"""The contract on sign hashes, and what their bits mean."""

from __future__ import annotations

import numpy as np
import pytest

from ann.codec_contract import CodecContract
from ann.samples import gaussian
from quiver.ann.codecs.lsh import SignHashes


class TestSignHashes(CodecContract):
    codec = SignHashes
    within = 120
    error = 0.08

    @pytest.mark.parametrize(("dimension", "bits"), [(1, 64), (33, 128), (384, 768), (2048, 4096), (4096, 4096)])
    def test_there_are_two_bits_per_coordinate_in_whole_words(self, dimension, bits):
        codec = SignHashes(dimension, 1)
        assert (codec.bits, codec.code_size) == (bits, bits // 8 + 8)

    @pytest.mark.parametrize("degrees", [0, 20, 60, 90, 150, 180])
    def test_the_share_of_differing_bits_is_the_angle(self, degrees):
        rng = np.random.default_rng(degrees)
        one, other = np.linalg.qr(rng.normal(size=(512, 2)))[0].T
        angle = np.radians(degrees)
        rows = np.stack([one, np.cos(angle) * one + np.sin(angle) * other]).astype(np.float32)
        codes = SignHashes(512, 3).encode_rows(rows, np.zeros(2, np.int64), np.zeros((1, 512), np.float32))
        differing = np.bitwise_count(codes[0, :-8] ^ codes[1, :-8]).sum() / 1024
        assert abs(differing - degrees / 180) < 0.06

    def test_codes_end_with_the_distance_to_the_origin(self):
        rows, origins = gaussian(30, 8), gaussian(2, 8, seed=1)
        assigned = np.arange(30) % 2
        codes = SignHashes(8, 1).encode_rows(rows, assigned, origins)
        norms = codes[:, -8:].copy().view(np.float64)[:, 0]
        np.testing.assert_allclose(norms, np.linalg.norm(rows - origins[assigned], axis=1), rtol=1e-6)
