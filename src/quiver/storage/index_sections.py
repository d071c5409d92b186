"""The sections of a segment's index object, each verified when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.format import segment_index
from quiver.format.sections import as_array
from quiver.storage.cache.view import BLOCK

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from quiver.format.segment_index import Footer
    from quiver.storage.cache.view import ObjectView

HEAD_BYTES = 1 << 16
"""Read from the end of an index object of which nothing is known; the footer of most fits."""


class IndexSections:
    """The footer, and what it leads to.

    Attributes:
        key: the object's.
        footer: see Footer.
        view: the object's bytes.
        copied: bytes of sections held beside them, because the view may drop them.
        head: where the bytes that were had at once begin; they end with the object.
    """

    def __init__(self, key: str, owner: str, view: ObjectView, head_bytes: int = HEAD_BYTES) -> None:
        """Read the footer; `head_bytes` from the end are had at once.

        Raises MissingBytesError, CorruptObjectError, UnsupportedFormatError.
        """
        self.key = key
        self.view = view
        self.copied = 0
        size = len(view.data)
        self.head = max(size - head_bytes, 0)
        view.require(self.head, size)
        view.require(segment_index.footer_start(key, view.data), size)
        self.footer: Footer = segment_index.decode_footer(key, owner, view.data, whole=view.stable)

    def section(self, name: str) -> memoryview:
        """One section, verified. Raises MissingBytesError, CorruptObjectError."""
        start, end = segment_index.section_range(self.key, self.footer, self.view.data, name)
        self.view.require(start, end)
        section = segment_index.read_section(self.key, self.footer, self.view.data, name)
        if self.view.stable:
            return section
        self.copied += end - start
        return memoryview(bytes(section))

    def take_head(self) -> bytes:
        """A copy of the object's end, from the block on in which `head` lies; the sections in it are verified.

        Raises MissingBytesError, CorruptObjectError.
        """
        start = self.head // BLOCK * BLOCK
        self.view.require(start, len(self.view.data))
        for name, section in self.footer.sections.items():
            if section.offset >= self.head:
                segment_index.read_section(self.key, self.footer, self.view.data, name)
        return bytes(self.view.data[start:])

    def array(self, name: str, dtype: np.dtype[np.generic], count: int) -> NDArray[np.generic]:
        """A section of `count` elements. Raises MissingBytesError, CorruptObjectError."""
        return segment_index.check_array(self.key, name, as_array(self.section(name), dtype), count)
