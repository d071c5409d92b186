"""What the tests of the commit store put under it: a bucket that overwrites, and a commit table in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from objectstore.conftest import BUCKET, CREDENTIALS, Moto
from objectstore.contract import PARTS
from quiver.model.errors import StoreUnavailableError
from quiver.objectstore.commit_store import CommitStore
from quiver.objectstore.commit_table import OBJECTS, UPLOADS, CommitTable, Item
from quiver.objectstore.dynamodb import DynamoTable
from quiver.objectstore.memory import MemoryStore
from quiver.objectstore.remote import RemoteStore
from quiver.objectstore.store import StoreRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import Buffer


def open_commit_store(moto: Moto, table: str, path: str, runtime: Runtime) -> CommitStore:
    """Over moto's S3 without conditions, and its DynamoDB."""
    bodies = RemoteStore(
        f"s3://{BUCKET}/{path}", endpoint=moto.endpoint, options=CREDENTIALS, conditional=False, large=PARTS
    )
    return CommitStore(bodies, dynamo_table(moto, table, bodies.url, runtime), runtime)


def dynamo_table(moto: Moto, table: str, root: str, runtime: Runtime) -> DynamoTable:
    return DynamoTable(table, root, runtime, region="us-east-1", endpoint=moto.endpoint)


class OverwritingStore(MemoryStore):
    """A bucket that knows no conditions. `after_put` and `before_delete` make a caller stall."""

    after_put: Callable[[], Awaitable[None]] | None = None
    before_delete: Callable[[], Awaitable[None]] | None = None

    async def put_new(self, key: str, parts: Sequence[Buffer]) -> None:
        await MemoryStore.delete(self, [key])
        await super().put_new(key, parts)
        if self.after_put is not None:
            await self.after_put()

    async def delete(self, keys: Sequence[str]) -> None:
        if self.before_delete is not None:
            await self.before_delete()
        await super().delete(keys)


class MemoryTable(CommitTable):
    """A dict of items.

    Attributes:
        clock: seconds that its time is ahead of the machine's.
        lose_answers: how many answers to decisions get lost after the decision was made.
        refuse_after: how many decisions are made before the table refuses all; None for never.
        requests: how often it was asked.
        renewals: how often it was asked to renew an announcement.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.clock = 0.0
        self.lose_answers = 0
        self.refuse_after: int | None = None
        self.requests = 0
        self.renewals = 0
        self._runtime = runtime
        self._items: dict[tuple[str, str], Item] = {}

    async def now(self) -> float:
        return self._runtime.time() + self.clock

    async def create(self, item: Item) -> Item | None:
        return self._decide(item, with_upload=False)

    async def publish(self, item: Item) -> Item | None:
        return self._decide(item, with_upload=True)

    def _decide(self, item: Item, *, with_upload: bool) -> Item | None:
        self.requests += 1
        if self.refuse_after is not None:
            if self.refuse_after == 0:
                raise StoreRefusedError("no permission")
            self.refuse_after -= 1
        holder = self._items.get((OBJECTS, item.name))
        if holder is None:
            upload = self._items.get((UPLOADS, item.token))
            if with_upload and (upload is None or upload.leaving):
                raise StoreUnavailableError("the upload took too long")
            self._items[OBJECTS, item.name] = item
            if with_upload:
                del self._items[UPLOADS, item.token]
        if self.lose_answers:
            self.lose_answers -= 1
            raise StoreUnavailableError("timed out")
        return holder

    async def announce(self, upload: Item) -> None:
        self.requests += 1
        self._items[UPLOADS, upload.name] = upload

    async def renew(self, upload: Item) -> bool:
        self.renewals += 1
        found = self._items.get((UPLOADS, upload.name))
        if found is None or found.leaving:
            return False
        self._items[UPLOADS, upload.name] = upload
        return True

    async def read(self, name: str) -> Item | None:
        self.requests += 1
        return self._items.get((OBJECTS, name))

    async def list(self, space: str, prefix: str, after: str = "") -> list[Item]:
        self.requests += 1
        names = sorted(n for s, n in self._items if s == space and n.startswith(prefix) and n > after)
        return [replace(self._items[space, name], body=None) for name in names]

    async def begin_removal(self, space: str, name: str) -> Item | None:
        self.requests += 1
        item = self._items.get((space, name))
        if item is None:
            return None
        if item.body is not None:
            del self._items[space, name]
            return None
        self._items[space, name] = replace(item, leaving=True)
        return self._items[space, name]

    async def finish_removal(self, space: str, item: Item) -> None:
        self.requests += 1
        found = self._items.get((space, item.name))
        if found is not None and found.token == item.token:
            del self._items[space, item.name]
