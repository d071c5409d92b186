"""The base of small records that every query makes many of."""

from __future__ import annotations

import msgspec


class Record(msgspec.Struct, frozen=True):
    """Named values that stay as they are: a named tuple would take three times as long to make and to look into.

    Never encoded or decoded, so that its annotations need no values at run time.
    """
