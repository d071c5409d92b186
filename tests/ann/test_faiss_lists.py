"""Tests of what is assumed about the memory of faiss's inverted lists; another faiss must fail here, loudly."""

from __future__ import annotations

import gc

import faiss
import numpy as np

from ann.codec_contract import lay_out
from quiver.ann.faiss_lists import InPlaceLists

SIZES = np.array([3, 0, 5, 1])
CODES = np.random.default_rng(1).integers(0, 256, (9, 7), np.uint8)


def in_place() -> InPlaceLists:
    return InPlaceLists(lay_out(CODES, SIZES), SIZES, 7)


def test_faiss_reads_back_sizes_codes_and_row_numbers():
    lists = in_place()
    assert lists.faiss.compute_ntotal() == 9
    for partition, (size, end) in enumerate(zip(SIZES.tolist(), np.cumsum(SIZES).tolist(), strict=True)):
        assert lists.faiss.list_size(partition) == size
        codes = faiss.rev_swig_ptr(lists.faiss.get_codes(partition), size * 7)
        assert codes.tobytes() == CODES[end - size : end].tobytes()
        ids = faiss.rev_swig_ptr(lists.faiss.get_ids(partition), size)
        assert ids.tobytes() == np.arange(end - size, end, dtype=np.int64).tobytes()


def test_faiss_reads_the_buffer_itself():
    lists = lay_out(CODES, SIZES)
    buffer = lists.buffer.copy()
    own = InPlaceLists(lists._replace(buffer=buffer), SIZES, 7)
    buffer[lists.offsets[2]] ^= 255
    assert faiss.rev_swig_ptr(own.faiss.get_codes(2), 1)[0] == CODES[3, 0] ^ 255


def test_lists_go_quietly(capfd):
    """faiss would say so if it tried to unmap them."""
    lists = in_place()
    del lists
    gc.collect()
    assert capfd.readouterr() == ("", "")


def test_there_is_never_a_size_that_faiss_could_unmap():
    assert in_place().faiss.totsize == 0
