"""Every way in which one object of a bucket, or two, are damaged."""

from __future__ import annotations

import struct
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from quiver.format import envelope, paths, segment_index

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping

_HEADER_LENGTH = struct.Struct("<12xI")
_FIXED, _CHECKSUM = 32, 8  # bytes of an envelope before its header, and after it


class Damage(NamedTuple):
    """What stands in place of some objects.

    Attributes:
        way: deleted, truncated, flipped or swapped.
        title: says it to a person.
        change: bytes by key; None for nothing.
    """

    way: str
    title: str
    change: dict[str, bytes | None]


def damages(objects: Mapping[str, bytes], chance: random.Random) -> Iterator[Damage]:
    """Object by object; then every two of a kind swapped, and each with one of every other kind."""
    for key, body in objects.items():
        yield Damage("deleted", f"{key} deleted", {key: None})
        for length in (0, len(body) // 2, len(body) - 1):
            yield Damage("truncated", f"{key} cut to {length}", {key: body[:length]})
        used = [place for part in used_bytes(key, body) for place in part]
        for place in (0, used[len(used) // 2], len(body) - 1, *chance.choices(used, k=3)):
            title = f"{key}: a bit of byte {place}"
            yield Damage("flipped", title, {key: flipped(body, place, chance.randrange(8))})
    for one, other in _pairs(sorted(objects), chance):
        change: dict[str, bytes | None] = {one: objects[other], other: objects[one]}
        yield Damage("swapped", f"{one} swapped with {other}", change)


def flipped(body: bytes, place: int, bit: int = 0) -> bytes:
    """The same with a bit of one byte changed."""
    damaged = bytearray(body)
    damaged[place] ^= 1 << bit
    return bytes(damaged)


def used_bytes(key: str, body: bytes) -> list[range]:
    """Where an object is more than padding, which nobody reads."""
    if key.endswith(paths.ROWS):
        return [range(len(body))]
    if key.endswith("/" + paths.SEGMENT_INDEX):
        owner = paths.index_of(key)
        assert owner is not None
        footer = segment_index.decode_footer(key, owner, memoryview(body))
        sections = (range(each.offset, each.offset + each.length) for each in footer.sections.values())
        start = segment_index.footer_start(key, memoryview(body))
        return [range(len(segment_index.MAGIC)), *sections, range(start, len(body))]
    head = _FIXED + _HEADER_LENGTH.unpack_from(body)[0] + _CHECKSUM
    return [range(head), range(head + envelope.padding(head), len(body))]


def _kind(key: str) -> str:
    """log, checkpoint, rows.parquet, index or format."""
    parts = key.split("/")
    return parts[-1] if parts[-1] in (paths.ROWS, paths.SEGMENT_INDEX, paths.STORE_FORMAT) else parts[-2]


def _pairs(keys: list[str], chance: random.Random) -> list[tuple[str, str]]:
    kinds: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        kinds[_kind(key)].append(key)
    pairs = {(one, other) for alike in kinds.values() for one in alike for other in alike if one < other}
    for key in keys:
        others = (chance.choice(alike) for kind, alike in kinds.items() if kind != _kind(key))
        pairs |= {(min(key, other), max(key, other)) for other in others}
    return sorted(pairs)
