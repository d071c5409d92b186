"""The batch atomicity check (I3): keys always written together are always seen together."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def find_mixture(group: Sequence[str], seen: Mapping[str, object]) -> str | None:
    """Why one snapshot of a group of keys cannot be: all must carry one batch's id, or all be absent.

    Args:
        group: keys every batch writes, or deletes, all of.
        seen: batch id by key, of the keys the snapshot has; keys outside the group are ignored.
    """
    ids = {key: seen.get(key) for key in group}
    if len(set(ids.values())) > 1:
        return f"a snapshot mixes batches: {ids}"
    return None
