"""Builds the text sections of a segment: posting lists of every text field, from the metadata of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from quiver.format import segment_index, text_sections
from quiver.format.metadata_columns import decode_metadata
from quiver.format.text_sections import BODY_ALIGNMENT, StoredField, TextFields
from quiver.model.mapped import release
from quiver.text.analysis import ANALYSIS_VERSION, analyzer
from quiver.text.documents import field_terms
from quiver.text.postings_builder import PostingsBuilder

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from quiver.model.types import TextField
    from quiver.storage.spool import Spool


class TextParts(NamedTuple):
    """Sections by name: the large one, which comes first in the object, and those that a search begins with."""

    large: dict[str, bytes | memoryview | NDArray[np.generic]]
    small: dict[str, bytes | memoryview | NDArray[np.generic]]


class TextsBuilder:
    """Takes the metadata of all rows of a segment in order."""

    def __init__(self, fields: Sequence[TextField], spool: Spool) -> None:
        self._spool = spool
        self._rows = 0
        self._builders = {field: PostingsBuilder() for field in fields}
        self._analyzers = {field: analyzer(field.language) for field in fields}

    def add(self, metadata: Sequence[bytes]) -> None:
        """Take in the next rows: their metadata, JSON texts."""
        if self._builders:
            for row, text in enumerate(metadata, self._rows):
                document = decode_metadata(text)
                for field, builder in self._builders.items():
                    builder.add(row, field_terms(document, field.key, self._analyzers[field]))
        self._rows += len(metadata)

    def finish(self) -> TextParts:
        """The sections; none without text fields. The builder is of no use afterwards."""
        if not self._builders:
            return TextParts({}, {})
        bodies = self._spool.open()
        stored = []
        while self._builders:  # each is dropped when it is written
            field = next(iter(self._builders))
            head, body = self._builders.pop(field).finish(self._rows)
            bodies.write(bytes(-bodies.size % BODY_ALIGNMENT))
            stored.append(StoredField(field, bodies.size, len(body), head))
            bodies.write(body)
        texts = bodies.view()
        blocks = segment_index.block_digests(texts, segment_index.ALIGNMENT)
        release(texts)
        fields = text_sections.encode_fields(TextFields(ANALYSIS_VERSION, stored))
        return TextParts({"texts": texts}, {"text_fields": fields, "text_blocks": blocks})
