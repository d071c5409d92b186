"""The data keys of a root: which one new objects get, and how those of others are found.

A process makes a data key when none is wrapped by the key file's current key: for a new root, and after the
current key was changed. Processes that do so at the same time each make one, and all of them are good: every chunk
says which one it was made with.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, NamedTuple

from quiver.model.errors import CorruptObjectError, MissingObjectError
from quiver.objectstore.encryption import wrapped_keys
from quiver.objectstore.encryption.layout import DataKey, is_encrypted, read_header
from quiver.objectstore.encryption.provider import MissingKeyError
from quiver.objectstore.store import ObjectExistsError, ObjectNotFoundError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quiver.model.runtime import Runtime
    from quiver.objectstore.encryption.key_file import KeyFile
    from quiver.objectstore.encryption.provider import KeyProvider
    from quiver.objectstore.store import Buffer, ObjectStore

PREFIX = "key/"
_NAME = re.compile(r"key/([0-9a-f]{32})/([0-9a-f-]{36})")


class Wrap(NamedTuple):
    """That a data key is there, wrapped by a master key: both ids."""

    key_id: str
    master: str

    @property
    def name(self) -> str:
        """Of the object."""
        return f"{PREFIX}{self.key_id}/{self.master}"


class RootKeys:
    """Those of one root, as one process knows them.

    Args:
        store: where the root is, in clear.
        keys: the key file.
        provider: of the keys in it.
    """

    def __init__(self, store: ObjectStore, keys: KeyFile, provider: KeyProvider, runtime: Runtime) -> None:
        self._store = store
        self._keys = keys
        self._provider = provider
        self._runtime = runtime
        self._known: dict[bytes, DataKey] = {}
        self._current: DataKey | None = None
        self._choosing = asyncio.Lock()

    async def current(self) -> DataKey:
        """The key for new objects. Raises StoreRefusedError, StoreUnavailableError, DataError."""
        if self._current is None:
            async with self._choosing:
                if self._current is None:
                    self._current = await self._choose()
        return self._current

    async def find(self, key_id: bytes) -> DataKey:
        """The key of an object that was read.

        Raises MissingKeyError, MissingObjectError, CorruptObjectError, StoreUnavailableError.
        """
        found = self._known.get(key_id)
        return found or await self._load(key_id.hex())

    async def wraps(self, key_id: str = "") -> list[Wrap]:
        """Which data keys there are (or this one), each once for every master key that wraps it."""
        return await list_wraps(self._store, key_id)

    async def rewrap(self) -> tuple[list[str], list[Wrap]]:
        """Wrap every data key by the current master key, then forget the other wraps.

        Afterwards no other key of the file is needed for the root. Cut short, it can be begun again. Returns the
        ids that were wrapped, and the wraps that were removed. Raises as `find`, StoreRefusedError.
        """
        wraps = await self.wraps()
        done = []
        for key_id in sorted({wrap.key_id for wrap in wraps}):
            if Wrap(key_id, self._keys.current) not in wraps:
                await self._put(key_id, (await self._load(key_id)).secret)
                done.append(key_id)
            await self._open(Wrap(key_id, self._keys.current))
        removed = [wrap for wrap in wraps if wrap.master != self._keys.current]
        await self._store.delete([wrap.name for wrap in removed])
        return done, removed

    async def _choose(self) -> DataKey:
        mine = [wrap.key_id for wrap in await self.wraps() if wrap.master == self._keys.current]
        if mine:
            return await self._load(mine[0])
        key_id = self._runtime.new_id()
        made = await self._provider.generate(self._keys.current, _context(key_id))
        return self._note(key_id, await self._put(key_id, made.secret, made.wrapped))

    async def _put(self, key_id: str, secret: bytes, wrapped: bytes | None = None) -> bytes:
        """Keep a data key under the current master key."""
        master, context = self._keys.current, _context(key_id)
        if wrapped is None:
            wrapped = await self._provider.wrap(master, secret, context)
        record = wrapped_keys.new_wrapped(key_id, master, wrapped, context)
        try:
            await self._store.put_new(Wrap(key_id, master).name, [wrapped_keys.encode(record)])
        except ObjectExistsError:
            try:
                found = await self._open(Wrap(key_id, master))
            except ObjectNotFoundError:
                found = None  # a conflict reported as existence
            if found != secret:
                raise StoreUnavailableError(f"cannot tell whether the data key {key_id} is kept") from None
        return secret

    async def _load(self, key_id: str) -> DataKey:
        wraps = await self.wraps(f"{key_id}/")
        if not wraps:
            raise MissingObjectError(f"{PREFIX}{key_id}: the data key is gone")
        for wrap in wraps:
            if wrap.master in self._keys.keys:
                try:
                    return self._note(key_id, await self._open(wrap))
                except ObjectNotFoundError:
                    continue  # wrapped anew meanwhile
        raise MissingKeyError(_missing(self._store.url, wraps))

    async def _open(self, wrap: Wrap) -> bytes:
        record = wrapped_keys.decode(wrap.name, bytes(await self._store.get(wrap.name)))
        if (record.id, record.master, record.context) != (*wrap, _context(wrap.key_id)):
            raise CorruptObjectError(f"{wrap.name}: is another data key")
        return await self._provider.unwrap(wrap.master, record.wrapped, record.context)

    def _note(self, key_id: str, secret: bytes) -> DataKey:
        key = DataKey(bytes.fromhex(key_id), secret)
        self._known[key.id] = key
        return key


async def refuse_encrypted(store: ObjectStore, name: str, data: Buffer) -> None:
    """Say which key an object needs that was read in clear, when it is encrypted. Raises MissingKeyError."""
    if not is_encrypted(data):
        return
    key_id = read_header(name, memoryview(data)).key_id.hex()
    masters = " or ".join(wrap.master for wrap in await list_wraps(store, key_id)) or f"of {key_id}"
    raise MissingKeyError(
        f"{store.url} is encrypted under the key {masters}: name its key file in QUIVER_ENCRYPTION_KEY_FILE"
    )


async def list_wraps(store: ObjectStore, key_id: str = "") -> list[Wrap]:
    """See `RootKeys.wraps`."""
    listed = await store.list(f"{PREFIX}{key_id}")
    return [Wrap(*match.groups()) for info in listed if (match := _NAME.fullmatch(info.key))]


def _context(key_id: str) -> dict[str, str]:
    return {"quiver:root-key": key_id}


def _missing(url: str, wraps: Sequence[Wrap]) -> str:
    masters = " or ".join(wrap.master for wrap in wraps)
    return f"{url} has objects encrypted under the key {masters}, which the key file does not hold"
