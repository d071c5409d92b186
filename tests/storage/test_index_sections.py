"""Tests of the sections of an index object: of its end there are verified copies that a cache can take in."""

from __future__ import annotations

import pytest

from quiver.format import segment_index
from quiver.model.errors import CorruptObjectError
from quiver.model.types import DistanceMetric, IndexSpec
from quiver.storage.cache.view import BLOCK, WholeView
from quiver.storage.index_sections import IndexSections
from storage.segments import INDEX_KEY, PARTITIONED, built, index_bytes, sample
from storage.tape import OWNER

BODY = index_bytes(built(sample(3000, 64), IndexSpec(64, DistanceMetric.EUCLIDEAN), PARTITIONED))
FOOTER = segment_index.decode_footer(INDEX_KEY, OWNER, memoryview(BODY))
HEAD = FOOTER.sections["blocks"].offset


def opened(body: bytes, head: int = HEAD) -> IndexSections:
    return IndexSections(INDEX_KEY, OWNER, WholeView(body), len(body) - head)


def test_the_head_is_taken_from_the_beginning_of_its_block():
    assert HEAD % BLOCK
    assert opened(BODY).take_head() == BODY[HEAD // BLOCK * BLOCK :]
    assert opened(BODY, 0).take_head() == BODY


@pytest.mark.parametrize("name", [name for name, section in FOOTER.sections.items() if section.length])
def test_damage_in_it_is_noticed_and_none_elsewhere(name):
    section = FOOTER.sections[name]
    damaged = bytearray(BODY)
    damaged[section.offset] ^= 1
    if section.offset < HEAD:
        assert opened(bytes(damaged)).take_head() == damaged[HEAD // BLOCK * BLOCK :]
    else:
        with pytest.raises(CorruptObjectError, match=name):
            opened(bytes(damaged)).take_head()
    with pytest.raises(CorruptObjectError, match=name):
        opened(bytes(damaged), 0).take_head()
