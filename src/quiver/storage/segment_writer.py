"""Writes a built segment under its name: its rows, then the index derived from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from quiver.format import paths, segment_index
from quiver.objectstore.store import ObjectExistsError, ObjectNotFoundError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import Buffer, ObjectStore
    from quiver.storage.segment_builder import BuiltSegment


async def write_segment(
    store: ObjectStore, runtime: Runtime, root: str, owner: str, segment: str, built: BuiltSegment
) -> None:
    """Create both objects of segment `segment` under `root`.

    The name is new and random, so an object found there is our own earlier attempt.
    Raises StoreRefusedError, StoreUnavailableError.
    """
    key = paths.segment_key(root, segment, paths.SEGMENT_INDEX)
    footer = msgspec.structs.replace(built.footer, key=key, owner=owner)
    await _create(store, runtime, paths.segment_key(root, segment, paths.ROWS), [built.rows_file])
    runtime.reach("segment:rows_written")
    await _create(store, runtime, key, segment_index.encode(footer, built.sections))
    runtime.reach("segment:written")


async def _create(store: ObjectStore, runtime: Runtime, key: str, parts: Sequence[Buffer]) -> None:
    for attempt in range(6):
        try:
            await store.put_new(key, parts)
        except ObjectExistsError:
            try:
                await store.get(key, 0, 1)
            except ObjectNotFoundError:
                pass  # a conflict reported as existence: try again
            else:
                return
        except StoreUnavailableError:
            pass
        else:
            return
        await runtime.sleep(0.05 * 2**attempt * (0.5 + runtime.random()))
    raise StoreUnavailableError(f"{key}: not written after several attempts")
