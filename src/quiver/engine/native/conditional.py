"""Conditional writes: what was decided from some rows is committed only if none of them changed meanwhile.

Rows are read at commit c, and what to write is decided. The entry is an ordinary put or delete; the condition is
judged by who appends it, just before each attempt, in the state of slot s - 1 when it is to fill slot s: the
checkpoint underneath is the same as at c, and none of the keys was put or deleted in (c, s - 1]. Whoever creates
slot s has nothing between that state and its entry, so nodes that replay it have nothing to judge, and agree. A
condition that does not hold means that the entry is not there and never will be: then all is read again. Several
such writes share an entry when their keys are distinct, so that none touches what another's condition is about.

What comes into an index without the log would be missed: flushes and merges change no row, but loads do. Hence a
load is first announced in a checkpoint ("closing"), then appends an entry of its own, and is then published, as of
a slot no earlier than that entry. So of a conditional write in slot s and a load whose entry is in slot f:

* s < f, or both share an entry: the load is published over the write.
* s > f: the state of slot s - 1 was judged after f had been read, and who sees an entry does not miss checkpoints
  that came before it. So the announcement was seen: unless the load had been published, too, or given up, the
  condition did not hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from quiver.engine.native.reservation import give_up_closing
from quiver.format import rows
from quiver.format.log_entry import PartKind
from quiver.model.errors import BusyError
from quiver.storage.group_commit import Condition, ConditionFailedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from quiver.engine.native.index import NativeIndex
    from quiver.engine.native.state import IndexState
    from quiver.engine.native.tail import TailView
    from quiver.model.types import VectorBatch

T = TypeVar("T")

_FIRST_DELAY, _LONGEST_DELAY = 0.002, 0.5  # seconds before the rows are read again
_CHANGING = "The vectors are being changed by others; try again shortly"


class Basis(NamedTuple, Generic[T]):
    """What a decision rests on: rows as read, and the tail as it stood then."""

    found: T
    tail: TailView


class Change(NamedTuple):
    """What to write: rows to put, or keys to delete."""

    put: VectorBatch | None = None
    delete: Sequence[str] = ()

    @property
    def keys(self) -> Sequence[str]:
        """Those that it touches."""
        return self.put.keys if self.put is not None else self.delete


async def write_if_unchanged(
    index: NativeIndex, read: Callable[[], Awaitable[Basis[T]]], decide: Callable[[T], Change]
) -> tuple[T, int]:
    """Read, decide, and write if nothing that is written has changed since; else again from the start.

    Returns: what was read last, and the commit: of the write, or of the reading when there is nothing to write.
    Raises: BusyError when others were always quicker; what `read` and `decide` raise, and as `Index.put`.
    """
    give_up = index.runtime.monotonic() + index.settings.log.deadline
    delay = _FIRST_DELAY
    while True:
        found, tail = await read()
        change = await index.runtime.offload(decide, found)
        if not change.keys:
            return found, tail.commit
        try:
            return found, await _append(index, change, tail)
        except ConditionFailedError:
            if index.runtime.monotonic() >= give_up:
                raise BusyError(_CHANGING) from None
        await give_up_closing(index)
        await index.runtime.sleep(delay * index.runtime.random())
        delay = min(2 * delay, _LONGEST_DELAY)


async def _append(index: NativeIndex, change: Change, tail: TailView) -> int:
    keys = frozenset(change.keys)
    if change.put is not None:
        kind, body = PartKind.PUT, rows.encode_put(change.put)
    else:
        kind, body = PartKind.DELETE, rows.encode_delete(change.delete)
    condition = Condition(keys, lambda: holds(index.state, tail, keys))
    return (await index.append(kind, body, condition=condition)).slot


def holds(state: IndexState, since: TailView, keys: frozenset[str]) -> bool:
    """Whether rows with these keys are as they were when the tail was seen, for all that the state knows.

    A tail belongs to one checkpoint. With another underneath, what the keys stand for has to be looked up anew.
    """
    return state.tail is since.tail and not state.closing and since.are_untouched(keys)
