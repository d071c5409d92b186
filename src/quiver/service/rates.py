"""How much may be asked of a server per second: the limits, their text form, and refusing what passes them."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, NamedTuple

from quiver.model.errors import ThrottledError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quiver.model.token_bucket import Buckets

OFF, AWS = "off", "aws"
_NUMBER = re.compile(r"(\w+)=([0-9]{1,15}(?:\.[0-9]{1,6})?)")


@dataclass(frozen=True, slots=True)
class Rates:
    """Per second, and of the whole server, but for the last one; 0 is no limit.

    Attributes:
        requests: requests of all access keys together; they share it fairly.
        bytes: bytes of their bodies.
        key_requests: requests of one access key.
        key_bytes: bytes of their bodies.
        index_writes: PutVectors and DeleteVectors of one index.
        index_vectors: vectors written to and keys deleted from one index.
        index_reads: QueryVectors, GetVectors and ListVectors of one index.
        key_held_bytes: memory that bodies of one access key may hold at once, in each worker process.
    """

    requests: float = 0
    bytes: float = 0
    key_requests: float = 0
    key_bytes: float = 0
    index_writes: float = 0
    index_vectors: float = 0
    index_reads: float = 0
    key_held_bytes: float = 0

    def divided(self, workers: int) -> Rates:
        """The part of one of several worker processes, each of which counts for itself."""
        rates = {f.name: getattr(self, f.name) / workers for f in fields(self) if f.name != "key_held_bytes"}
        return replace(self, **rates)


AWS_RATES = Rates(index_writes=1000, index_vectors=2500)
"""The quotas of Amazon S3 Vectors. Of reads it says "hundreds" per second and index: no number, so no limit."""


def parse_rates(text: str) -> Rates:
    """`off`, `aws`, or numbers by name, such as `key_requests=100,index_reads=300`, also after `aws`.

    Raises: ValueError: with what is wrong.
    """
    first, *rest = words = [word for word in re.split(r"[,\s]+", text.strip()) if word] or [OFF]
    if first == OFF and rest:
        raise ValueError("off stands alone")
    if first in (OFF, AWS):
        words = rest
    names = [f.name for f in fields(Rates)]
    numbers: dict[str, float] = {}
    for word in words:
        match = _NUMBER.fullmatch(word)
        if match is None or match[1] not in names:
            raise ValueError(f"{word!r} is no limit; write NAME=NUMBER with one of {', '.join(names)}")
        numbers[match[1]] = float(match[2])
    return replace(AWS_RATES if first == AWS else Rates(), **numbers)


class Limit(NamedTuple):
    """One limit in force: its name among those of `Rates`, what it limits in words, and what is left."""

    name: str
    what: str
    buckets: Buckets


def capacity(rate: float) -> float:
    """What may come at once after a pause: a second's worth, but always one request."""
    return max(1.0, rate)


def check(demands: Iterable[tuple[Limit, float]], taker: str, now: float) -> None:
    """Whether a taker can have all of this. Raises: ThrottledError for the limit that takes longest."""
    waits = [(limit.buckets.wait(taker, cost, now), limit) for limit, cost in demands]
    seconds, limit = max(waits, key=lambda each: each[0])
    if seconds > 0:
        raise ThrottledError(f"Rate exceeded: {limit.what}", limit.name, seconds)


def take(demands: Iterable[tuple[Limit, float]], taker: str, now: float) -> None:
    """Take all of it, or nothing. Raises: ThrottledError."""
    demands = list(demands)
    check(demands, taker, now)
    for limit, cost in demands:
        limit.buckets.take(taker, cost, now)
