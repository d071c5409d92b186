"""The text fields of an open segment: their posting lists, every byte verified before it is first used."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from quiver.format import segment_index, text_sections
from quiver.format.segment_index import bytes_of
from quiver.format.text_sections import BLOCK_BYTES, TEXT_SECTIONS, StoredField, TextFields
from quiver.model.errors import CorruptObjectError
from quiver.storage.cache.view import covering
from quiver.text.analysis import ANALYSIS_VERSION
from quiver.text.postings import Postings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from quiver.model.types import TextField
    from quiver.storage.index_sections import IndexSections
    from quiver.storage.text_builder import TextParts


class SegmentTexts:
    """What a segment index holds of text fields. Any method may raise MissingBytesError, CorruptObjectError."""

    def __init__(self, sections: IndexSections) -> None:
        self._sections = sections
        self._key = sections.key
        self._postings: dict[TextField, Postings] = {}
        if "texts" in sections.footer.sections:
            sections.view.on_arrival(self._distrust)

    @cached_property
    def stored(self) -> TextFields:
        """The text fields, and the analysis that they were made with."""
        if "text_fields" not in self._sections.footer.sections:
            return TextFields(ANALYSIS_VERSION, [])
        start, end = self._range
        return text_sections.decode_fields(self._key, self._sections.section("text_fields"), end - start)

    @property
    def fields(self) -> list[TextField]:
        """Those that can be searched."""
        return [each.field for each in self.stored.fields] if self.stored.analysis == ANALYSIS_VERSION else []

    def postings(self, field: TextField) -> Postings | None:
        """Of a field; None when the segment has none of this version's making."""
        if field not in self._postings and self.stored.analysis == ANALYSIS_VERSION:
            for each in self.stored.fields:
                if each.field == field:
                    self._postings[field] = self._open(each)
        return self._postings.get(field)

    def are(self, parts: TextParts) -> bool:
        """Whether the segment holds just these sections of text fields."""
        sections = {**parts.large, **parts.small}
        held = {name for name in TEXT_SECTIONS if name in self._sections.footer.sections}
        return held == sections.keys() and all(
            bytes_of(content) == self._sections.section(name) for name, content in sections.items()
        )

    def _open(self, field: StoredField) -> Postings:
        found = Postings(field.head, _Body(self, field))
        if (found.rows, found.body_bytes) != (self._sections.footer.rows, field.length):
            raise CorruptObjectError(f"{self._key}: postings of other rows, or of another length")
        return found

    # ---------------------------------------------------------------- bytes

    @cached_property
    def _range(self) -> tuple[int, int]:
        """Where `texts` starts and ends in the object."""
        return segment_index.section_range(self._key, self._sections.footer, self._sections.view.data, "texts")

    @cached_property
    def _first(self) -> int:
        """The number of the first block that `texts` has bytes in."""
        return self._range[0] // BLOCK_BYTES

    @cached_property
    def _digests(self) -> NDArray[np.uint64]:
        count = -(-self._range[1] // BLOCK_BYTES) - self._first
        return self._sections.array("text_blocks", np.dtype("<u8"), count).view(np.uint64)

    @cached_property
    def _verified(self) -> NDArray[np.bool_]:
        return np.zeros(len(self._digests), bool)

    def read(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> list[memoryview]:
        """Ranges of `texts`, verified."""
        section, view = self._range[0], self._sections.view
        blocks = np.unique(covering(starts + section, ends + section, BLOCK_BYTES)) - self._first
        verified = self._verified
        view.require(starts + section, ends + section)
        for number in blocks[~verified[blocks]].tolist():
            low = max((self._first + number) * BLOCK_BYTES, section)
            high = min((self._first + number + 1) * BLOCK_BYTES, self._range[1])
            if xxhash.xxh3_64_intdigest(view.data[low:high]) != int(self._digests[number]):
                raise CorruptObjectError(f"{self._key}: checksum of block {number} of the texts does not match")
            verified[number] = True
        places = zip((starts + section).tolist(), (ends + section).tolist(), strict=True)
        return [view.data[start:end] for start, end in places]

    def _distrust(self, arrived: NDArray[np.int64]) -> None:
        """Have these blocks of the object checked, perhaps again."""
        if "_verified" in self.__dict__:  # else none was yet
            numbers = arrived - self._first
            self._verified[numbers[(numbers >= 0) & (numbers < len(self._verified))]] = False


class _Body:
    """The body of one field."""

    def __init__(self, texts: SegmentTexts, field: StoredField) -> None:
        self._texts = texts
        self._start = field.start
        self._length = field.length

    def bytes_at(self, ranges: Sequence[tuple[int, int]]) -> list[memoryview]:
        places = np.array(ranges, np.int64).reshape(-1, 2)
        starts, ends = places[:, 0], places[:, 1]
        if ((starts < 0) | (ends < starts) | (ends > self._length)).any():
            raise CorruptObjectError("a range of postings is out of bounds")
        return self._texts.read(starts + self._start, ends + self._start)
