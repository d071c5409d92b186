"""Tests of the text fields of a segment: what the builder wrote is read, and verified block by block."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from engine.reference import make_batch
from quiver.format import paths, segment_index
from quiver.format.text_sections import TEXT_SECTIONS, decode_fields, encode_fields
from quiver.model.errors import CorruptObjectError
from quiver.model.types import DistanceMetric, IndexSpec, TextField
from quiver.storage.segment_audit import audit_segment
from quiver.storage.segment_builder import BuildOptions
from quiver.storage.spool import Spool
from quiver.text.analysis import ANALYSIS_VERSION
from storage.segments import built, forged, index_bytes, opened, read

ROWS = 3_000
TITLE, BODY = TextField("title"), TextField("body", "en")
SPEC = IndexSpec(2, DistanceMetric.EUCLIDEAN, ("body",))
OPTIONS = BuildOptions(texts=(TITLE, BODY))
WORDS = [f"{first}{second}{third}" for first in "abcdefghij" for second in "klmnopqrst" for third in "uvwxyz"]


def texts_batch(rows: int = ROWS):
    rng = np.random.default_rng(rows)
    documents = [
        {"title": WORDS[number % 7], "body": " ".join(rng.choice(WORDS, 24)) if number % 5 else 5}
        for number in range(rows)
    ]
    return make_batch([f"k{number}" for number in range(rows)], rng.normal(size=(rows, 2)), documents)


SEGMENT = built(texts_batch(), SPEC, OPTIONS)


def rows_with(reader, field: TextField, word: str) -> list[int]:
    postings = reader.texts.postings(field)
    lists = postings.find([word])
    return sorted(postings.search(lists, np.ones(1), 1.0, None, reader.rows).rows.tolist())


def test_every_row_is_found_by_its_words():
    reader = forged(SEGMENT)
    assert reader.texts.fields == [TITLE, BODY] == list(SEGMENT.texts)
    assert rows_with(reader, TITLE, WORDS[3]) == list(range(3, ROWS, 7))
    documents = [msgspec.json.decode(text) for text in reader.metadata_of(np.arange(ROWS))]
    held = [n for n, document in enumerate(documents) if WORDS[123] in str(document["body"]).split()]
    assert rows_with(reader, BODY, WORDS[123]) == held
    assert reader.texts.postings(BODY).documents == ROWS * 4 // 5
    assert reader.texts.postings(BODY) is reader.texts.postings(BODY)


def test_other_fields_are_not_there():
    reader = forged(SEGMENT)
    for field in (TextField("title", "en"), TextField("body"), TextField("more")):
        assert reader.texts.postings(field) is None


def test_a_segment_without_text_fields_is_as_before():
    segment = built(texts_batch(50), SPEC)
    assert not set(TEXT_SECTIONS) & segment.sections.keys()
    reader = forged(segment)
    assert (reader.texts.fields, reader.texts.postings(TITLE)) == ([], None)
    audit_segment(reader, SPEC)


def test_the_bytes_do_not_depend_on_where_they_were_spooled():
    small = built(texts_batch(), SPEC, BuildOptions(Spool(memory_bytes=0), texts=(TITLE, BODY)))
    assert index_bytes(small) == index_bytes(SEGMENT)


def test_the_large_section_comes_first_and_the_small_ones_in_the_head():
    names = list(SEGMENT.sections)
    assert names[0] == "texts"
    assert names.index("blocks") < names.index("text_fields") < names.index("text_blocks")
    assert len(SEGMENT.sections["texts"]) > segment_index.BLOCK_BYTES


def test_terms_of_another_analysis_are_not_searched():
    stored = stored_fields()
    for version in (ANALYSIS_VERSION - 1, ANALYSIS_VERSION + 1):
        other = encode_fields(msgspec.structs.replace(stored, analysis=version))
        reader = forged(SEGMENT, sections={"text_fields": other})
        assert (reader.texts.fields, reader.texts.postings(TITLE)) == ([], None)
        audit_segment(reader, SPEC)


def stored_fields():
    section = memoryview(SEGMENT.sections["text_fields"])
    return decode_fields("key", section, len(SEGMENT.sections["texts"]))


def test_a_block_is_verified_when_it_is_first_read_and_others_are_not():
    index = bytearray(index_bytes(SEGMENT))
    reader = read(bytes(index), SEGMENT.rows_file)
    assert reader.texts.postings(TITLE)
    first = len(SEGMENT.sections["texts"]) - 100  # in the last block: the dictionary of the second field
    index[segment_index.ALIGNMENT + first] ^= 1
    reader = read(bytes(index), SEGMENT.rows_file)
    assert rows_with(reader, TITLE, WORDS[3]) == list(range(3, ROWS, 7))
    with pytest.raises(CorruptObjectError, match="checksum of block"):
        reader.texts.postings(BODY).find(WORDS)
    with pytest.raises(CorruptObjectError):
        audit_segment(reader, SPEC)


def test_ranges_past_a_body_are_refused():
    reader = forged(SEGMENT)
    reader.texts.postings(TITLE)
    body = reader.texts._postings[TITLE]._body
    length = stored_fields().fields[0].length
    for range_ in ((-1, 4), (4, 3), (0, length + 1), (length + 1, length + 1)):
        with pytest.raises(CorruptObjectError):
            body.bytes_at([range_])
    assert body.bytes_at([(0, 0), (length, length), (3, 5)])[2].nbytes == 2


def lies():
    stored = stored_fields()
    first, second = stored.fields
    replaced = msgspec.structs.replace
    other = built(texts_batch(ROWS - 1), SPEC, OPTIONS)
    yield "heads of the other field", [replaced(first, head=second.head), replaced(second, head=first.head)]
    yield "names of the other field", [replaced(first, field=BODY), replaced(second, field=TITLE)]
    yield "another language", [first, replaced(second, field=TextField("body", "de"))]
    yield "an unknown language", [first, replaced(second, field=TextField("body", "tlh"))]
    yield "a shorter body", [replaced(first, length=first.length - 1), second]
    rows = decode_fields("key", memoryview(other.sections["text_fields"]), len(other.sections["texts"]))
    yield "the head of other rows", [replaced(first, head=rows.fields[0].head), second]


@pytest.mark.parametrize(("name", "fields"), list(lies()), ids=[name for name, _ in lies()])
def test_text_fields_that_do_not_follow_from_the_rows_are_noticed_by_the_audit(name, fields):
    audit_segment(forged(SEGMENT), SPEC)
    section = encode_fields(msgspec.structs.replace(stored_fields(), fields=fields))
    with pytest.raises(CorruptObjectError):
        audit_segment(forged(SEGMENT, sections={"text_fields": section}), SPEC)


@pytest.mark.parametrize("name", TEXT_SECTIONS)
def test_a_section_that_is_missing_is_noticed_by_the_audit(name):
    with pytest.raises(CorruptObjectError):
        audit_segment(forged(SEGMENT, sections={name: None}), SPEC)


def test_a_segment_that_was_written_under_a_name_reads_the_same():
    reader = opened(texts_batch(100), SPEC, OPTIONS)
    assert rows_with(reader, TITLE, WORDS[2]) == list(range(2, 100, 7))
    assert reader.owner == paths.index_of(reader._key)
