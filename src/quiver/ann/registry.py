"""Partitioners and codecs by the names that index specifications and segments carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.ann.codecs.flat import Flat
from quiver.ann.partitioners.single import Single
from quiver.model.errors import UnsupportedFormatError

if TYPE_CHECKING:
    from quiver.ann.codec import Codec
    from quiver.ann.partitioner import Partitioner

PARTITIONERS: dict[str, type[Partitioner]] = {Single.name: Single}
CODECS: dict[str, type[Codec]] = {Flat.name: Flat}


def partitioner(name: str) -> type[Partitioner]:
    """Raises UnsupportedFormatError for a name this Quiver does not know."""
    try:
        return PARTITIONERS[name]
    except KeyError:
        raise UnsupportedFormatError(f"unknown partitioner {name!r}") from None


def codec(name: str) -> type[Codec]:
    """Raises UnsupportedFormatError for a name this Quiver does not know."""
    try:
        return CODECS[name]
    except KeyError:
        raise UnsupportedFormatError(f"unknown codec {name!r}") from None
