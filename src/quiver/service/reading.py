"""How fresh a read has to be: what a request asks for, over what the server is set to.

S3 Vectors has no members for it: over HTTP it travels in headers of its own, in the library in arguments.
"""

from __future__ import annotations

from typing import NamedTuple

from quiver.engine.engine import STRONG, Freshness
from quiver.model.errors import ValidationError

CONSISTENCY = "x-quiver-consistency"
AT_LEAST = "x-quiver-at-least"
CONSISTENCIES = ("strong", "eventual")
READS = frozenset(
    {
        "GetVectors",
        "ListVectors",
        "QueryVectors",
        "CountVectors",
        "ListVectorsByFilter",
        "QueryVectorsWithData",
        "BatchQueryVectors",
    }
)
"""The operations that it means something to."""

_NO_CONSISTENCY = "consistency must be strong or eventual"
_NO_COMMIT = "at least must be a commit number"


class Reading(NamedTuple):
    """What a request asks for, unchecked.

    Attributes:
        consistency: "strong" or "eventual"; None for what the server is set to.
        at_least: a commit number that the answer has to reflect, perhaps in decimal digits; None for any.
    """

    consistency: str | None = None
    at_least: int | str | None = None


AS_SET = Reading()


def freshness_of(reading: Reading, default: Freshness = STRONG) -> Freshness:
    """Raises ValidationError."""
    if reading is AS_SET:
        return default
    if reading.consistency not in (None, *CONSISTENCIES):
        raise ValidationError.at(CONSISTENCY, _NO_CONSISTENCY)
    eventual = default.eventual if reading.consistency is None else reading.consistency == "eventual"
    return Freshness(eventual, _commit(reading.at_least))


def _commit(given: int | str | None) -> int:
    if given is None:
        return 0
    if isinstance(given, str) and given.isascii() and given.isdigit() and len(given) < 20:
        given = int(given)
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < 1 << 63:
        raise ValidationError.at(AT_LEAST, _NO_COMMIT)
    return given
