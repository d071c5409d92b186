"""Partitioners and codecs by the names that index specifications and segments carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.ann.codecs.lsh import SignHashes
from quiver.ann.codecs.pq import ProductQuantizer
from quiver.ann.codecs.rabitq import RaBitQ
from quiver.ann.codecs.sq8 import ScalarQuantizer8
from quiver.ann.partitioners.kdtree import KDTree
from quiver.ann.partitioners.kmeans import KMeans
from quiver.ann.partitioners.single import Single
from quiver.model.errors import UnsupportedFormatError

if TYPE_CHECKING:
    from quiver.ann.codec import Codec
    from quiver.ann.partitioner import Partitioner

PARTITIONERS: dict[str, type[Partitioner]] = {each.name: each for each in (Single, KMeans, KDTree)}
CODECS: dict[str, type[Codec] | None] = {
    "flat": None,
    **{each.name: each for each in (RaBitQ, ScalarQuantizer8, ProductQuantizer, SignHashes)},
}
"""`flat` has no codes: the rows themselves are scanned, exactly (ann/exact.py)."""


def partitioner(name: str) -> type[Partitioner]:
    """Raises UnsupportedFormatError for a name this Quiver does not know."""
    try:
        return PARTITIONERS[name]
    except KeyError:
        raise UnsupportedFormatError(f"unknown partitioner {name!r}") from None


def codec(name: str) -> type[Codec] | None:
    """None for rows without codes. Raises UnsupportedFormatError for a name this Quiver does not know."""
    try:
        return CODECS[name]
    except KeyError:
        raise UnsupportedFormatError(f"unknown codec {name!r}") from None
