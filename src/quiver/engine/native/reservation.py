"""Reservations: the name of a segment that takes long to write is in a checkpoint before the segment is.

Garbage collection leaves it alone from then on, so a merge or a load that loses a race for the next generation
only drafts its checkpoint anew, and writes nothing twice. Whoever publishes the segment looks for the reservation
in the checkpoint underneath: when it was dropped meanwhile, because nobody had been heard of for a day, the
segment may be gone, and is not published.

That a checkpoint could be created does not mean that it counts. A draft that stalled may land in a generation that
another had taken, that others built on, and that was collected. So whoever changed a reservation looks for the
change in the newest checkpoint, and tries again when it is not there.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from quiver.engine.engine import IndexSealedError
from quiver.engine.native.state import Reservation, encode_checkpoint
from quiver.format import paths
from quiver.model.errors import UnavailableError
from quiver.storage.garbage import store_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from quiver.engine.native.index import NativeIndex
    from quiver.format.checkpoint import Checkpoint

AGE = 86_400.0
"""Seconds, by the store's clock, after which a reservation is taken to be forgotten."""


_AT_WORK = 1_800.0
"""Seconds for which whoever reserved a segment is taken to be at it."""


class ReservationLostError(UnavailableError):
    """The reservation was dropped: the work took longer than a day, or the index was deleted.

    Or the work was done: the answer to the put that published it was lost, and the segment was merged since. So a
    load may be visible, and may be repeated in any case: the same keys get the same values.
    """


async def reserve(index: NativeIndex) -> str:
    """Reserve the id of a new segment. Raises IndexSealedError, StoreUnavailableError, DataError."""
    since = await now(index)
    while True:
        segment = await _change(index, lambda kept, id_: [*_unforgotten(kept, since), Reservation(id_, since)])
        if await is_there(index, segment):
            index.runtime.reach("segment:reserved")
            return segment


async def release(index: NativeIndex, segment: str) -> None:
    """Give a segment up that will not be published. Raises IndexSealedError, StoreUnavailableError, DataError."""
    while await is_there(index, segment):
        await _change(index, lambda kept, _: without(kept, segment))


async def close(index: NativeIndex, segment: str) -> None:
    """Announce that a load is about to be published, for conditional writes to wait.

    Raises ReservationLostError, IndexSealedError, StoreUnavailableError, DataError.
    """
    began = await now(index)
    while not check_reserved(await index.log.observe(lambda: list(index.state.reserved)), segment).closing:
        await _change(index, lambda kept, _: closing(kept, segment, began))


async def give_up_closing(index: NativeIndex) -> None:
    """Drop the reservations of loads that must have died while they were being published.

    Raises IndexSealedError, StoreUnavailableError, DataError.
    """
    if index.state.closing:
        today = await now(index)
        if any(today - one.closing > _AT_WORK for one in index.state.closing):
            await _change(index, lambda kept, _: [one for one in kept if not _is_stuck(one, today)])


def _is_stuck(one: Reservation, today: float) -> bool:
    return one.closing > 0 and not one.published and today - one.closing > _AT_WORK


def closing(reserved: Sequence[Reservation], segment: str, began: float) -> list[Reservation]:
    """The reservations when one segment's load is about to be published."""
    return [msgspec.structs.replace(one, closing=began) if one.segment == segment else one for one in reserved]


async def is_there(index: NativeIndex, segment: str) -> bool:
    """Whether the newest checkpoint has it. Raises IndexSealedError, StoreUnavailableError, DataError."""
    return await _find(index, segment) is not None


async def is_reserved(index: NativeIndex, segment: str) -> bool:
    """Whether a segment is still to be published, as the newest checkpoint says.

    Raises ReservationLostError when it does not say, IndexSealedError, StoreUnavailableError, DataError.
    """
    found = await _find(index, segment)
    return not check_reserved([found] if found else [], segment).published


def check_reserved(reserved: Sequence[Reservation], segment: str) -> Reservation:
    """A reservation. Raises ReservationLostError when the segment may have been collected since."""
    for one in reserved:
        if one.segment == segment:
            return one
    raise ReservationLostError(
        f"the reservation of segment {segment} is gone: what was to be published with it may be visible or not; "
        "it is safe to repeat it"
    )


def without(reserved: Sequence[Reservation], segment: str) -> list[Reservation]:
    """The other reservations."""
    return [one for one in reserved if one.segment != segment]


def published(reserved: Sequence[Reservation], segment: str) -> list[Reservation]:
    """The reservations when one segment's checkpoint is published."""
    return [msgspec.structs.replace(one, published=True) if one.segment == segment else one for one in reserved]


async def announced(index: NativeIndex) -> bool:
    """Whether somebody seems to be at work on a merge or a load. Raises StoreUnavailableError, DataError."""
    open_ones = [one for one in index.state.reserved if not one.published]
    if not open_ones:
        return False
    today = await now(index)
    return any(today - one.since < _AT_WORK for one in open_ones)


async def drop_forgotten(index: NativeIndex) -> None:
    """Drop the reservations of those who must have died. Raises StoreUnavailableError, DataError."""
    if await index.log.observe(lambda: index.log.sealed or not index.state.reserved):
        return
    today = await now(index)
    if any(today - one.since > AGE for one in index.state.reserved):
        with suppress(IndexSealedError):  # deleted meanwhile
            await _change(index, lambda kept, _: _unforgotten(kept, today))


def _unforgotten(reserved: Sequence[Reservation], today: float) -> list[Reservation]:
    return [one for one in reserved if today - one.since <= AGE]


async def now(index: NativeIndex) -> float:
    """What the store's clock says, asked again when a collector took the mark before its time was read."""
    while not (time := await store_time(index.store, index.runtime, index.root)):
        pass
    return time


async def _find(index: NativeIndex, segment: str) -> Reservation | None:
    """The reservation of a segment in the newest checkpoint."""

    def capture() -> Reservation | None:
        if index.log.sealed:
            raise IndexSealedError
        return next((one for one in index.state.reserved if one.segment == segment), None)

    return await index.log.observe(capture)


async def _change(index: NativeIndex, change: Callable[[list[Reservation], str], list[Reservation]]) -> str:
    """Try to publish the checkpoint underneath again with other reservations.

    The segment id that belongs to its generation, which `change` is given.
    """
    async with index.maintenance.publishing:
        draft, segment = await index.log.observe(lambda: _redraft(index, change))
        await index.log.publish_checkpoint(draft)
        index.runtime.reach("checkpoint:published")
    return segment


def _redraft(
    index: NativeIndex, change: Callable[[list[Reservation], str], list[Reservation]]
) -> tuple[Checkpoint, str]:
    if index.log.sealed:
        raise IndexSealedError
    contents = index.state.contents
    segment = paths.segment_id(index.log.base + 1, index.log.base_slot, index.runtime.new_id())
    changed = msgspec.structs.replace(contents, reserved=change(contents.reserved, segment))
    return index.log.redraft_checkpoint(encode_checkpoint(changed)), segment
