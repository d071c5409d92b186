"""Vector keys as bytes and hashes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xxhash

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

HASH_BITS = 64


def key_hash(key: str) -> int:
    """xxh3-64 of the UTF-8 bytes; stored in segments and page tokens, so it never changes."""
    return xxhash.xxh3_64_intdigest(key.encode())


def key_hashes(keys: Iterable[str]) -> NDArray[np.uint64]:
    """The hash of each key, uint64 of shape (n,)."""
    return utf8_hashes(map(str.encode, keys))


def utf8_hashes(keys: Iterable[bytes]) -> NDArray[np.uint64]:
    """The same of keys that are encoded already, as UTF-8."""
    return np.fromiter(map(xxhash.xxh3_64_intdigest, keys), np.uint64)
