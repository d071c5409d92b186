"""What a checkpoint of an index names, for copying it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.engine.native.state import contents_of
from quiver.storage.copying.log_copy import Named

if TYPE_CHECKING:
    from quiver.format.checkpoint import Checkpoint


def names_of(checkpoint: Checkpoint) -> Named:
    """Its segments, those of its snapshots and of its clones; not those that are only reserved.

    Raises CorruptObjectError.
    """
    contents = contents_of(checkpoint)
    if contents is None:
        return Named()
    pinned = [ref for pin in contents.pins for ref in pin.segments]
    segments = dict.fromkeys((ref.home, ref.id) for ref in [*contents.segments, *pinned])
    return Named(contents.origin, list(segments))
