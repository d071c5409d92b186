"""An object store that decides in a table who creates a key, over a bucket that decides nothing.

For stores without conditional writes (docs/decisions/0007-dynamodb-commit-store.md). The table says which keys
exist. A small body is kept in the table, so that creating is one conditional request. A larger one is first
announced, then put into the bucket under a name nobody else uses, then published: one step in the table creates
the key and ends the announcement.

At every moment a body in the bucket has an item in the table that names it, or an announcement: a process that
dies leaves nothing that cannot be found again. Bodies are removed before the items that name them.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from quiver.model.errors import MissingObjectError
from quiver.objectstore.commit_table import OBJECTS, UPLOADS, CommitTable, Item
from quiver.objectstore.keys import check_key, check_keys, check_prefix, check_range, range_end
from quiver.objectstore.store import (
    Buffer,
    ObjectExistsError,
    ObjectInfo,
    ObjectNotFoundError,
    ObjectStore,
    StoreRefusedError,
    StoreUnavailableError,
    nbytes_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quiver.model.runtime import Runtime

INLINE_BYTES = 16 << 10
"""Bodies up to this stay in the table. About where a write to DynamoDB costs what the detour costs."""

ABANDONED_SECONDS = 3600.0
"""By the table's clock: older announcements are taken back. Safe at any age: who then publishes is refused."""

_RENEWAL_SECONDS = ABANDONED_SECONDS / 6
_SWEEP_SECONDS = 600.0
_AT_ONCE = 16
_KNOWN = 65_536
_ATTEMPTS = 4
_FIRST_DELAY = 0.05


class CommitStore(ObjectStore):
    """Keys in a table, large bodies in a bucket.

    Args:
        bodies: the bucket. Every key it is given is new, so it may overwrite without asking.
        table: the keys. Nothing else may use the same table for the same root.
        runtime: chance and time between repetitions.
    """

    def __init__(self, bodies: ObjectStore, table: CommitTable, runtime: Runtime) -> None:
        self.url = bodies.url
        self._bodies = bodies
        self._table = table
        self._runtime = runtime
        self._known: dict[str, Item] = {}  # items whose bodies lie in the bucket
        self._next_sweep = 0.0

    async def put_new(self, key: str, parts: Sequence[Buffer]) -> None:
        check_key(key)
        size = nbytes_of(parts)
        token = self._runtime.new_id()
        if size <= INLINE_BYTES:
            item = Item(key, token, size, await self._table.now(), b"".join(parts))
        else:
            await self._upload(token, size, parts)
            item = Item(key, token, size, await self._table.now())
        if await self._decide(item) != token:
            raise ObjectExistsError(key)
        self._runtime.reach("commit_store:decided")

    async def _upload(self, token: str, size: int, parts: Sequence[Buffer]) -> None:
        """Put a body into the bucket that an announcement names.

        Who was so slow that the announcement may have been taken back before the body was there gives up, and
        announces the body again: now it is there, and the next sweep finds it.
        """
        announcement = _Announcement(self._table, self._runtime, token, size)
        await announcement.make()
        self._runtime.reach("commit_store:announced")
        key = body_key(token)
        if self._bodies.large_bytes is None or size <= self._bodies.large_bytes:
            await self._bodies.put_new(key, parts)
        else:
            renewing = self._runtime.spawn(announcement.renew(), "renew an announcement")
            try:
                await self._bodies.put_large(key, parts)
            finally:
                renewing.cancel()
                await asyncio.wait([renewing])
        self._runtime.reach("commit_store:uploaded")
        if announcement.age() > ABANDONED_SECONDS / 2:
            await announcement.make()
            raise StoreUnavailableError("an upload took too long to be published")

    async def _decide(self, item: Item) -> str:
        """The token of the item that has the name.

        An answer that got lost is asked for again with the same token: the table then tells that we have the name.
        """
        claim = self._table.publish if item.body is None else self._table.create
        delay = _FIRST_DELAY
        lost: StoreUnavailableError | None = None
        for _ in range(_ATTEMPTS):
            try:
                holder = await claim(item)
            except StoreUnavailableError as error:
                lost = error
            except StoreRefusedError as refusal:
                if lost is None:
                    raise
                raise lost from refusal  # what became of the attempt before is still open
            else:
                return item.token if holder is None else holder.token
            await self._runtime.sleep(delay * (0.5 + self._runtime.random()))
            delay *= 2
        raise lost or AssertionError

    async def get(self, key: str, start: int = 0, length: int | None = None) -> Buffer:
        check_key(key)
        check_range(start, length)
        known = self._known.get(key)
        if known is not None:
            try:
                return await self._bodies.get(body_key(known.token), start, length)
            except ObjectNotFoundError:
                self._known.pop(key, None)  # removed, and perhaps created again
        item = await self._table.read(key)
        if item is None or item.leaving:
            raise ObjectNotFoundError(key)
        if item.body is not None:
            return item.body[start : range_end(start, length, item.size)]
        return await self._body(item, start, length)

    async def _body(self, item: Item, start: int, length: int | None) -> Buffer:
        try:
            body = await self._bodies.get(body_key(item.token), start, length)
        except ObjectNotFoundError:
            # Removed since the table was read, or else lost: the one is an absent object, the other is damage.
            now = await self._table.read(item.name)
            if now is None or now.leaving or now.token != item.token:
                raise ObjectNotFoundError(item.name) from None
            raise MissingObjectError(f"{item.name}: its body {body_key(item.token)} is gone") from None
        self._remember(item)
        return body

    def _remember(self, item: Item) -> None:
        """Look for the body at once the next time. Finding it proves that the item exists: the body goes first."""
        self._known[item.name] = item
        if len(self._known) > _KNOWN:
            del self._known[next(iter(self._known))]

    async def list(self, prefix: str, after: str = "") -> list[ObjectInfo]:
        check_prefix(prefix)
        items = await self._table.list(OBJECTS, prefix, after)
        for item in items:
            if item.size > INLINE_BYTES and not item.leaving:
                self._remember(item)
        return [ObjectInfo(item.name, item.size, item.modified) for item in items]

    async def delete(self, keys: Sequence[str]) -> None:
        names = check_keys(keys)
        if self._runtime.monotonic() >= self._next_sweep:
            await self._sweep()
            self._next_sweep = self._runtime.monotonic() + _SWEEP_SECONDS
        for start in range(0, len(names), _AT_ONCE):
            await self._remove(OBJECTS, names[start : start + _AT_ONCE])

    async def _remove(self, space: str, names: Sequence[str]) -> None:
        """Mark, remove the bodies, remove the items: after a failure the items show what is left to do."""
        begun = await asyncio.gather(*(self._table.begin_removal(space, name) for name in names))
        leaving = [item for item in begun if item is not None]
        if not leaving:
            return
        self._runtime.reach("commit_store:leaving")
        await self._bodies.delete([body_key(item.token) for item in leaving])
        self._runtime.reach("commit_store:bodies_removed")
        await asyncio.gather(*(self._table.finish_removal(space, item) for item in leaving))

    async def _sweep(self) -> None:
        """Remove what was uploaded and never published; an uploader that is still there cannot publish it then."""
        uploads = await self._table.list(UPLOADS, "")
        limit = await self._table.now() - ABANDONED_SECONDS
        abandoned = [each.name for each in uploads if each.leaving or each.modified < limit]
        for start in range(0, len(abandoned), _AT_ONCE):
            await self._remove(UPLOADS, abandoned[start : start + _AT_ONCE])

    async def close(self) -> None:
        await self._table.close()
        await self._bodies.close()


class _Announcement:
    """What the table is told of a body on its way to the bucket."""

    def __init__(self, table: CommitTable, runtime: Runtime, token: str, size: int) -> None:
        self._table = table
        self._runtime = runtime
        self._token = token
        self._size = size
        self._made = runtime.monotonic()

    async def make(self) -> None:
        """Announce the body as of now."""
        await self._table.announce(await self._item())

    async def renew(self) -> None:
        """Say again and again that it is still under way: a body of many parts may take hours.

        A sweep that has begun is never undone: the table refuses, and what was swept up is not published.
        """
        while True:
            await self._runtime.sleep(_RENEWAL_SECONDS)
            begun = self._runtime.monotonic()
            with suppress(StoreUnavailableError, StoreRefusedError):
                if not await self._table.renew(await self._item()):
                    return
                self._made = begun

    async def _item(self) -> Item:
        return Item(self._token, self._token, self._size, await self._table.now())

    def age(self) -> float:
        """Seconds since it was announced or renewed, at most."""
        return self._runtime.monotonic() - self._made


def body_key(token: str) -> str:
    """Where in the bucket a body lies."""
    return f"body/{token}"
