"""Copies a store: catalog and indexes, each as of a commit at or after the start.

The order of reading makes the copy consistent, and the order of writing makes a part of one useless to everybody
but the next run:

1. `format` is created in the target, naming the copy. Nobody can open the root from then on.
2. The catalog is read, as of one commit. Then indexes are listed, so that none it names is missing. (An index that
   is named but has no objects is empty; one that is deleted after that is copied with its seal, and whoever meets
   it finishes the deletion, as always.)
3. Each index: entries, segments, and then the checkpoint that names these.
4. The catalog.
5. `copied`: the root can be opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from quiver.format import paths
from quiver.model.errors import ConflictError, CorruptObjectError, NotFoundError
from quiver.objectstore.store import ObjectExistsError, ObjectNotFoundError, StoreUnavailableError
from quiver.storage.copying.concurrency import for_each
from quiver.storage.copying.log_copy import LogCopy, Named, TooEarlyError
from quiver.storage.store_format import (
    COPY_VERSION,
    Copied,
    CopyMark,
    StoreFormat,
    create_copied,
    create_format,
    read_copied,
    read_format,
    read_whole_format,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quiver.format.checkpoint import Checkpoint
    from quiver.objectstore.store import ObjectStore
    from quiver.storage.copying.transfer import Transfer

_ATTEMPTS = 6


class CopyReport(NamedTuple):
    """What a copy consists of.

    Attributes:
        indexes: with objects, deleted ones included.
        objects, nbytes: all in all.
        kept: objects that an earlier run had brought.
        finished: when it was whole, by the clock of whoever made it, in seconds since the epoch.
        found: an earlier run had finished it, and nothing was done.
    """

    indexes: int
    objects: int
    nbytes: int
    kept: int
    finished: int
    found: bool = False


async def copy_store(
    transfer: Transfer,
    named: Callable[[Checkpoint], Named],
    *,
    resume: bool = False,
    before_create: Callable[[], Awaitable[None]] | None = None,
) -> CopyReport:
    """Copy everything; the target can be opened when this returns.

    Args:
        named: reads what a checkpoint of an index names.
        resume: go on with a copy of the same source that was interrupted, perhaps at its very end. Nobody else may
            be at it.
        before_create: called when the target is new; what it raises leaves the target as it is.

    Raises:
        NotFoundError: there is no store to copy.
        ConflictError: the target holds something else, or without `resume` a copy, finished or not.
        DataError: an object of the source is damaged or missing; the message names it.
        RetryError: a store failed.
    """
    origin = await _origin(transfer.source)
    mark = await _begin(transfer, origin, resume=resume, before_create=before_create)
    if resume and (done := await read_copied(transfer.target, mark)) is not None:
        return CopyReport(done.indexes, done.objects, done.nbytes, done.objects, done.finished, found=True)
    held: dict[str, memoryview] = {}

    async def hold(key: str, body: memoryview) -> None:
        held[key] = body

    catalog = LogCopy(transfer, paths.CATALOG_ROOT, paths.CATALOG_OWNER)
    captured = await catalog.capture(hold)
    sizes = await _index_sizes(transfer.source)
    transfer.expect(sum(sizes.values()))
    await _copy_indexes(transfer, named, sizes)
    for key, body in held.items():
        await transfer.place(key, body)
    await catalog.finish(captured)
    tally, now = transfer.tally, int(transfer.runtime.time())
    copied = Copied(mark.id, len(sizes), tally.copied + tally.kept, tally.nbytes, now)
    await _end(transfer, mark, copied)
    return CopyReport(copied.indexes, copied.objects, copied.nbytes, tally.kept, now)


async def _copy_indexes(transfer: Transfer, named: Callable[[Checkpoint], Named], sizes: dict[str, int]) -> None:
    """Every index, a clone after the one it was made from."""
    waiting, copied = list(sizes), set[str]()
    logs = {
        index_id: LogCopy(
            transfer,
            paths.index_root(index_id),
            index_id,
            named,
            lambda origin: origin in copied or origin not in sizes,
            nbytes,
        )
        for index_id, nbytes in sizes.items()
    }

    async def copy_index(index_id: str) -> None:
        try:
            await logs[index_id].copy()
        except TooEarlyError:
            waiting.append(index_id)
        else:
            copied.add(index_id)

    while waiting:
        batch, waiting[:] = list(waiting), []
        await for_each(transfer.settings.at_once, batch, copy_index)
        if len(waiting) == len(batch):
            raise CorruptObjectError(f"{paths.index_root(waiting[0])}: was cloned, in a circle, from itself")


async def _origin(source: ObjectStore) -> StoreFormat:
    try:
        return await read_whole_format(source)
    except ObjectNotFoundError as error:
        raise NotFoundError(f"there is no store at {source.url}") from error


async def _index_sizes(source: ObjectStore) -> dict[str, int]:
    """The bytes of each index that has objects, by its id."""
    sizes: dict[str, int] = {}
    for info in await source.list(paths.INDEX_ROOT):
        index_id = paths.index_of(info.key)
        if index_id is not None:
            sizes[index_id] = sizes.get(index_id, 0) + info.size
    return sizes


async def _begin(
    transfer: Transfer,
    origin: StoreFormat,
    *,
    resume: bool,
    before_create: Callable[[], Awaitable[None]] | None,
) -> CopyMark:
    """Mark the target as this copy, or find it marked."""
    target = transfer.target
    source_id = origin.copy.id if origin.copy else ""
    try:
        found = await read_format(target)
    except ObjectNotFoundError:
        await _refuse_remains(target)
        if before_create is not None:
            await before_create()
        mark = CopyMark(transfer.runtime.new_id(), source_id)
        fresh = StoreFormat(COPY_VERSION, origin.token_key, origin.created, mark)
        try:
            await create_format(target, transfer.runtime, fresh)
        except (ObjectExistsError, StoreUnavailableError):
            found = await _reread(target)
            if found.copy != mark:
                raise ConflictError(f"{target.url} is being used by somebody else") from None
        return mark
    if found.copy is None:
        raise ConflictError(f"{target.url} holds a store already: copy to an empty place")
    if (found.token_key, found.copy.source) != (origin.token_key, source_id):
        raise ConflictError(f"{target.url} holds a copy of another store: copy to an empty place")
    if not resume:
        if await read_copied(target, found.copy) is not None:
            raise ConflictError(f"{target.url} holds a whole copy already: copy to an empty place")
        raise ConflictError(
            f"{target.url} holds an unfinished copy of this store: when nobody else is at it, go on with --resume"
        )
    return found.copy


async def _reread(target: ObjectStore) -> StoreFormat:
    """The format of a target after an unclear answer to its creation."""
    try:
        return await read_format(target)
    except ObjectNotFoundError as error:
        raise StoreUnavailableError(f"{target.url} did not take the first object") from error


async def _refuse_remains(target: ObjectStore) -> None:
    """A root without a format has no objects of a store. Raises ConflictError."""
    for prefix in (paths.COPIED, paths.CATALOG_ROOT, paths.INDEX_ROOT):
        if remains := await target.list(prefix):
            raise ConflictError(f"{target.url} holds {remains[0].key}: copy to an empty place")


async def _end(transfer: Transfer, mark: CopyMark, copied: Copied) -> None:
    """Say that the copy is whole."""
    runtime = transfer.runtime
    for attempt in range(_ATTEMPTS):
        try:
            await create_copied(transfer.target, runtime, copied)
        except (ObjectExistsError, StoreUnavailableError):
            if await read_copied(transfer.target, mark) is not None:
                return
        else:
            return
        await runtime.sleep(0.05 * 2**attempt * (0.5 + runtime.random()))
    raise StoreUnavailableError(f"{transfer.target.url} did not take the last object: go on with --resume")
