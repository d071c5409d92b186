"""Creates an object whose name nobody else can mean: a put is repeated until the object is known to exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.objectstore.store import (
    ObjectExistsError,
    ObjectNotFoundError,
    StoreUnavailableError,
    put_of_any_size,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import Buffer, ObjectStore

_ATTEMPTS = 6


async def create_object(store: ObjectStore, runtime: Runtime, key: str, parts: Sequence[Buffer]) -> bool:
    """Put until the object exists; False when it was found there, perhaps from an attempt whose answer was lost.

    Raises StoreRefusedError, StoreUnavailableError.
    """
    for attempt in range(_ATTEMPTS):
        try:
            await put_of_any_size(store, key, parts)
        except ObjectExistsError:
            try:
                await store.get(key, 0, 1)
            except ObjectNotFoundError:
                pass  # a conflict reported as existence: try again
            else:
                return False
        except StoreUnavailableError:
            pass
        else:
            return True
        await runtime.sleep(0.05 * 2**attempt * (0.5 + runtime.random()))
    raise StoreUnavailableError(f"{key}: not written after several attempts")
