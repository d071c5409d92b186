"""The contract on RaBitQ, and the rows that faiss alone would misjudge."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from ann.codec_contract import CodecContract, lay_out, squares
from ann.samples import clustered, gaussian
from quiver.ann import _kernels
from quiver.ann.codecs.rabitq import RaBitQ


class TestRaBitQ(CodecContract):
    codec = RaBitQ
    within = 100
    reads_numbers = False
    error = 0.08

    @pytest.mark.parametrize(("dimension", "size"), [(1, 9), (8, 9), (300, 46), (384, 56), (768, 104)])
    def test_a_code_is_a_bit_per_coordinate_and_two_floats(self, dimension, size):
        assert RaBitQ(dimension, 1).code_size == size

    def test_another_seed_gives_another_rotation(self):
        rows, origins = gaussian(50, 64), np.zeros((1, 64), np.float32)
        one, other = (RaBitQ(64, seed).encode_rows(rows, np.zeros(50, np.int64), origins) for seed in (1, 2))
        assert 0.3 < (np.unpackbits(one[:, :8]) != np.unpackbits(other[:, :8])).mean() < 0.7

    @pytest.mark.parametrize("length", [0, 1e-9, 1e-7, 1e-5, 1e-4, 3.4e-4, 3.5e-4, 1e-3])
    def test_rows_close_to_their_origin_are_scored_by_the_distance_to_it(self, length):
        """faiss does not divide by norms whose square is below the float32 epsilon."""
        rng = np.random.default_rng(2)
        origins = gaussian(1, 128)
        offsets = rng.normal(size=(200, 128))
        offsets *= length / np.linalg.norm(offsets, axis=1, keepdims=True)
        rows = (origins + offsets).astype(np.float32)
        codec = RaBitQ(128, 1)
        lists = lay_out(codec.encode_rows(rows, np.zeros(200, np.int64), origins), np.array([200]), codec)
        query = gaussian(1, 128, seed=9)[0]
        hits = codec.scanner(lists, origins).scan(query, np.zeros(1, np.int64), 200)
        np.testing.assert_allclose(hits.scores, squares(query, rows)[hits.rows], rtol=2e-3)

    @pytest.mark.parametrize("dimension", [1, 7, 8, 48, 384, 997])
    @pytest.mark.parametrize("scale", [1e-3, 1, 1e6])
    def test_codes_are_those_of_the_encoder_of_faiss(self, dimension, scale):
        codec, origins = RaBitQ(dimension, 1), np.zeros((1, dimension), np.float32)
        rows = gaussian(700, dimension) * np.float32(scale)
        rows[np.square(rows).sum(axis=1) < 1e-6] = 1  # short ones it misjudges
        turned = codec._rotation.rows(rows)
        wanted = faiss.RaBitQuantizer(dimension, faiss.METRIC_L2, 1).compute_codes(turned)
        assert codec.encode_rows(rows, np.zeros(700, np.int64), origins).tobytes() == wanted.tobytes()

    def test_scores_do_not_jump_where_the_mending_begins(self):
        codec, origins = RaBitQ(64, 1), np.zeros((1, 64), np.float32)
        row = gaussian(1, 64)
        row /= np.linalg.norm(row)
        epsilon = float(np.finfo(np.float32).eps)
        rows = np.concatenate([row * np.float32((epsilon * share) ** 0.5) for share in (0.98, 1.02)])
        factors = codec.encode_rows(rows, np.zeros(2, np.int64), origins)[:, -8:].copy().view(np.float32)
        np.testing.assert_allclose(factors[0] / factors[1], [0.98 / 1.02, (0.98 / 1.02) ** 0.5], rtol=1e-3)

    def test_estimates_are_as_good_as_those_of_faiss(self):
        """Which rounds queries to as many levels, though not to the same."""
        segment = self.segment(clustered(1000, 48, 12))
        rotate = segment.codec._rotation.rows
        coarse = faiss.IndexFlatL2(48)
        coarse.add(rotate(segment.origins))
        index = faiss.IndexIVFRaBitQ(coarse, 48, 8)
        index.is_trained, index.qb, index.nprobe = True, 4, 8
        rows, assigned = rotate(segment.rows), np.ascontiguousarray(segment.assigned, np.int64)
        pointers = faiss.swig_ptr(rows), None, faiss.swig_ptr(assigned)
        index.add_core(1000, *pointers)
        errors = []
        for query in gaussian(40, 48, seed=3):
            true, hits = squares(query, segment.rows), segment.scan(query)
            scores, wanted = index.search(rotate(query[None, :]), 1000)
            errors.append([np.mean((hits.scores - true[hits.rows]) ** 2), np.mean((scores - true[wanted]) ** 2)])
        ours, theirs = np.mean(errors, axis=0)
        assert ours < 1.02 * theirs

    @pytest.mark.parametrize(
        ("codes", "blocks"), [((3, 8), (1, 256)), ((33, 10), (1, 320)), ((3, 10), (1, 319)), ((3, 10), (2, 320))]
    )
    def test_blocks_of_other_shapes_are_refused(self, codes, blocks):
        with pytest.raises(ValueError, match="do not fit"):
            _kernels.rabitq_lay_out(np.zeros(codes, np.uint8), np.zeros(blocks, np.uint8))

    @pytest.mark.parametrize(
        ("rows", "codes"), [((3, 9), (3, 9)), ((3, 9), (2, 10)), ((3, 9), (3, 11)), ((3, 0), (3, 8))]
    )
    def test_codes_of_other_shapes_are_refused(self, rows, codes):
        with pytest.raises(ValueError, match="do not fit"):
            _kernels.rabitq_codes(np.zeros(rows, np.float32), np.zeros(codes, np.uint8))
