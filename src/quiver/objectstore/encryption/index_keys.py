"""The data keys of indexes that have a KMS key of their own: one object in each index's folder, made before the
first of the index and there as long as its folder."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quiver.model.errors import CorruptObjectError, MissingObjectError
from quiver.objectstore.encryption import wrapped_keys
from quiver.objectstore.encryption.layout import DataKey
from quiver.objectstore.store import ObjectExistsError, ObjectNotFoundError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from quiver.model.runtime import Runtime
    from quiver.objectstore.encryption.provider import KeyProvider
    from quiver.objectstore.encryption.wrapped_keys import WrappedKey
    from quiver.objectstore.store import ObjectStore

TRUSTED_SECONDS = 300.0
"""How long a data key is used before its master key is asked again: so long a disabled KMS key still works."""

_INDEX_ID = "aws:s3vectors:resource-id"
_KNOWN = 10_000


@dataclass(slots=True)
class _Known:
    """What is known of one index: `record` is None when it has no key of its own, for such it gets never."""

    asked: bool = False
    record: WrappedKey | None = None
    key: DataKey | None = None
    trusted_until: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class IndexKeys:
    """Those of one root, as one process knows them.

    Args:
        store: where the root is, in clear.
        provider: of KMS keys.
        owner_of: the id of the index that owns an object, None for no index.
        name_of: the name of the object that holds the key of an index.
    """

    def __init__(
        self,
        store: ObjectStore,
        provider: KeyProvider,
        runtime: Runtime,
        owner_of: Callable[[str], str | None],
        name_of: Callable[[str], str],
    ) -> None:
        self._store = store
        self._provider = provider
        self._runtime = runtime
        self._owner_of = owner_of
        self._name_of = name_of
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def holds(self, name: str) -> bool:
        """Whether an object of this name is the key of an index."""
        owner = self._owner_of(name)
        return owner is not None and name == self._name_of(owner)

    async def generate(self, master: str, context: Mapping[str, str]) -> WrappedKey:
        """A data key under a KMS key, to be given to an index. Raises KmsError, StoreUnavailableError."""
        made = await self._provider.generate(master, context)
        return wrapped_keys.new_wrapped(self._runtime.new_id(), master, made.wrapped, dict(context))

    async def give(self, index_id: str, master: str, arn: str) -> None:
        """Let a new index have a data key under a KMS key: all its objects, from the first one on.

        Args:
            arn: of the index, which the KMS key is told with every request.

        Raises: KmsError, StoreRefusedError, StoreUnavailableError.
        """
        record = await self.generate(master, {"aws:s3vectors:arn": arn, _INDEX_ID: index_id})
        try:
            await self._store.put_new(self._name_of(index_id), [wrapped_keys.encode(record)])
        except ObjectExistsError:
            if await self._read(index_id) != record:
                raise StoreUnavailableError(f"cannot tell whether the key of index {index_id} is kept") from None

    async def of(self, name: str) -> DataKey | None:
        """The key to write an object under, None when its index has none. Raises as `find`."""
        owner = self._owner_of(name)
        return None if owner is None else await self._key(owner)

    async def find(self, name: str, key_id: bytes) -> DataKey:
        """The key an object was written under.

        Raises KmsError, MissingObjectError, CorruptObjectError, StoreUnavailableError.
        """
        key = await self.of(name)
        if key is None:
            raise MissingObjectError(f"{name}: the data key {key_id.hex()} of its index is gone")
        if key.id != key_id:
            raise CorruptObjectError(f"{name}: encrypted under the data key {key_id.hex()}, not its index's")
        return key

    async def close(self) -> None:
        """Release the provider's connections."""
        await self._provider.close()

    async def _key(self, owner: str) -> DataKey | None:
        known = self._known.setdefault(owner, _Known())
        self._known.move_to_end(owner)
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)
        if known.asked and (known.record is None or self._runtime.monotonic() < known.trusted_until):
            return known.key
        async with known.lock:
            if not known.asked:
                known.record = await self._read(owner)
                known.asked = True
            if known.record is not None and self._runtime.monotonic() >= known.trusted_until:
                known.key = await self._unwrap(known.record)
                known.trusted_until = self._runtime.monotonic() + TRUSTED_SECONDS
        return known.key

    async def _read(self, owner: str) -> WrappedKey | None:
        name = self._name_of(owner)
        try:
            record = wrapped_keys.decode(name, bytes(await self._store.get(name)))
        except ObjectNotFoundError:
            return None
        if record.context.get(_INDEX_ID) != owner:
            raise CorruptObjectError(f"{name}: is the key of another index")
        return record

    async def _unwrap(self, record: WrappedKey) -> DataKey:
        secret = await self._provider.unwrap(record.master, record.wrapped, record.context)
        return DataKey(bytes.fromhex(record.id), secret, of_index=True)
