"""Whether what was read of an object is what was once written: its checksums, its own name, its structure."""

from __future__ import annotations

import numpy as np
import xxhash

from quiver.format import checkpoint as checkpoint_format
from quiver.format import log_entry, paths, segment_index
from quiver.format.envelope import Kind, decode
from quiver.model.errors import CorruptObjectError


def check_entry(key: str, owner: str, body: memoryview) -> None:
    """A log entry. Raises CorruptObjectError, UnsupportedFormatError."""
    _, payload = decode(Kind.LOG_ENTRY, key, owner, body)
    log_entry.decode(key, payload)


def read_checkpoint(key: str, owner: str, body: memoryview) -> checkpoint_format.Checkpoint:
    """A checkpoint. Raises CorruptObjectError, UnsupportedFormatError."""
    _, payload = decode(Kind.CHECKPOINT, key, owner, body)
    return checkpoint_format.decode(key, payload)


def check_segment(root: str, owner: str, segment: str, index: memoryview, rows: memoryview) -> None:
    """Every section of a segment's index, and every block of its rows.

    Raises CorruptObjectError, which names the object at fault; UnsupportedFormatError.
    """
    key, rows_key = (paths.segment_key(root, segment, part) for part in (paths.SEGMENT_INDEX, paths.ROWS))
    footer = segment_index.decode_footer(key, owner, index)
    for name in footer.sections:
        segment_index.read_section(key, footer, index, name)
    if len(rows) != footer.rows_size:
        raise CorruptObjectError(f"{rows_key}: {len(rows)} bytes, {footer.rows_size} are due")
    if footer.block_bytes < 1:
        raise CorruptObjectError(f"{key}: impossible numbers in the footer")
    starts = range(0, len(rows), footer.block_bytes)
    digests = segment_index.read_array(key, footer, index, "blocks", "<u8", len(starts)).view(np.uint64)
    for number, start in enumerate(starts):
        if xxhash.xxh3_64_intdigest(rows[start : start + footer.block_bytes]) != int(digests[number]):
            raise CorruptObjectError(f"{rows_key}: block {number}: checksum does not match")
