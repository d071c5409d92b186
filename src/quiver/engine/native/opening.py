"""Keeps the opening of an index up to date, for nodes that have never seen it (storage/opening_store.py)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from quiver.engine.native.state import contents_of
from quiver.format import paths
from quiver.format.opening import Head, Opening
from quiver.model.errors import QuiverError
from quiver.storage.cache.view import BLOCK
from quiver.storage.opening_store import LARGEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quiver.engine.native.index import NativeIndex
    from quiver.engine.native.state import SegmentRef

_ATTEMPTS = 3


async def renew(index: NativeIndex) -> None:
    """Have the opening hold the checkpoint that the index stands on, unless it holds that or a newer one.

    Whatever fails leaves no opening, or an old one: that costs other nodes time and nothing else.
    """
    with suppress(QuiverError):
        for _ in range(_ATTEMPTS):
            if await _renew(index):
                return


async def _renew(index: NativeIndex) -> bool:
    """Whether there is no more to do. Raises as reading a segment and writing an object do."""
    generation = index.log.base
    if not generation or index.log.sealed:
        return True
    present = await index.opening.generation()
    if present is not None and present >= generation:
        return True
    # What counts is what is there, whoever put it.
    checkpoint = await index.store.get(paths.checkpoint_key(index.root, generation))
    contents = contents_of(index.log.checkpoints.parse(generation, checkpoint).checkpoint)
    if contents is None or len(checkpoint) > LARGEST:
        return True
    heads = await _heads(index, contents.segments, LARGEST - len(checkpoint))
    if index.log.base != generation:
        return False
    opening = Opening(generation, memoryview(checkpoint), heads)
    return await index.opening.replace(opening, present=present is not None)


async def _heads(index: NativeIndex, refs: Sequence[SegmentRef], budget: int) -> list[Head]:
    """The heads of all segments; none when they do not fit, or an older Quiver did not say how long they are.

    A search needs all of them before it can go on. If some have to be fetched, the others come at the same time,
    and sooner than they would with the opening.
    """
    if not all(ref.head_bytes for ref in refs) or sum(ref.head_bytes + BLOCK for ref in refs) > budget:
        return []
    return [Head(ref.home, ref.id, await index.snapshots.head(ref)) for ref in refs]
