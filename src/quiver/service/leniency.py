"""What a server accepts beyond S3 Vectors when it is told to. By default nothing: strict is what AWS does."""

from __future__ import annotations

from typing import NamedTuple

from quiver.service.metadata_rules import MAX_BYTES, MAX_FILTERABLE_BYTES


class Leniency(NamedTuple):
    """See docs/extensions.md.

    Attributes:
        filters: a filter object may have several keys, all of which have to match.
        filterable_bytes: of metadata that filters can use, at most.
    """

    filters: bool = False
    filterable_bytes: int = MAX_FILTERABLE_BYTES


STRICT = Leniency()
_OFF, _ON = ("", "0"), "1"


def read_leniency(text: str) -> Leniency:
    """What a setting says: `1` for everything, or a list of `filters` and `metadata` or `metadata:<bytes>`.

    Raises: ValueError with what is wrong.
    """
    if text.strip() in _OFF:
        return STRICT
    if text.strip() == _ON:
        return Leniency(filters=True, filterable_bytes=MAX_BYTES)
    found = STRICT
    for part in text.split(","):
        name, _, value = part.strip().partition(":")
        if name == "filters" and not value:
            found = found._replace(filters=True)
        elif name == "metadata":
            found = found._replace(filterable_bytes=_limit(value) if value else MAX_BYTES)
        else:
            raise ValueError("must be 1, or a list of filters and metadata or metadata:<bytes>")
    return found


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError("must name the bytes of filterable metadata as a whole number")
    if not MAX_FILTERABLE_BYTES <= int(text) <= MAX_BYTES:
        raise ValueError(f"must name from {MAX_FILTERABLE_BYTES} to {MAX_BYTES} bytes of filterable metadata")
    return int(text)
