"""The opening of an index: one object with copies of what a node that has never seen the index reads first.

It holds the newest checkpoint and the heads of its segments (storage/index_sections.py), and has a fixed name, so
it is read together with the listing that would only tell where to look. It is a hint and never the truth. Of all
objects it alone goes and comes again under its name; each is created by put-if-absent and never changed, and what
any of them says holds for ever or is found to be wrong:

* The checkpoint counts only if the listing shows no newer one, and after that the first bytes of the checkpoint
  itself are those of the copy: they have a random number that no other attempt to put a checkpoint has, and length
  and checksum of the rest. So comparing is as good as reading, and everything that follows from having read the
  newest checkpoint of a listing follows, no more (CommitLog). An old opening, one put late, one of a draft that
  lost, one that a backup brought back: each is a checkpoint of another generation, or of other first bytes.
* A head is the end of an object whose name is random and which never changes, so it is right as long as a
  checkpoint names that segment, whatever opening it came in. It is used as if it had been fetched.
* One that is torn, damaged, or of another index fails its envelope, and is taken for none.

Whoever published a checkpoint deletes the opening and puts a new one. In between, or when it dies there, there is
none. All of it may fail: then a node reads one thing after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.format import opening as opening_format
from quiver.format import paths
from quiver.format.envelope import Identity, Kind, decode, encode, make_payload, peek
from quiver.model.errors import DataError, QuiverError
from quiver.objectstore.store import ObjectExistsError, ObjectNotFoundError
from quiver.storage.checkpoint_store import CheckpointStore, StoredCheckpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quiver.format.opening import Opening
    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import Buffer, ObjectStore
    from quiver.storage.cache.pace import Pace

LARGEST = 16 << 20
"""Bytes of copies in an opening. An index of two million rows of 768 dimensions takes about 12 MB."""

_PIECE = 4 << 20  # read over one connection: at the pace of large public stores about the time of a request
_PIECES = 3
_PEEK_BYTES = 512  # hold the identity
_INLINE_BYTES = 256 << 10  # below this checksums cost less than a change of thread


class OpeningStore:
    """The opening under `root` of the index `owner`.

    Attributes:
        heads: those that were read and not yet taken, by home and id of the segment; see format/opening.py.
    """

    def __init__(
        self, store: ObjectStore, runtime: Runtime, root: str, owner: str, pace: Pace | None = None
    ) -> None:
        """An opening; `pace` learns from reading it."""
        self.heads: dict[tuple[str, str], Buffer] = {}
        self._store = store
        self._runtime = runtime
        self._pace = pace
        self._root = root
        self._owner = owner
        self._key = paths.opening_key(root)
        self._writer = runtime.new_id()

    async def read(self) -> StoredCheckpoint | None:
        """The copy of a checkpoint; None when there is none, or for whatever reason it cannot be read.

        It need not be the newest, nor have ever been published: see above. `heads` are filled in.
        """
        try:
            opening = await self.load()
            stored = CheckpointStore(self._store, self._runtime, self._root, self._owner).parse(
                opening.generation, opening.checkpoint
            )
        except QuiverError:
            return None
        self.heads = {(head.home, head.segment): head.body for head in opening.heads}
        return stored

    async def load(self) -> Opening:
        """What is there. Raises ObjectNotFoundError, DataError, StoreUnavailableError."""
        # All are asked for before it is known whether the object is so long; who is not needed is not waited for.
        further = [self._runtime.spawn(self._piece(number), "opening") for number in range(1, _PIECES)]
        pieces = [await self._get(0, _PIECE)]
        _, size = peek(Kind.OPENING, self._key, self._owner, pieces[0])
        for task in further if size > _PIECE else []:
            piece = await task
            if isinstance(piece, QuiverError):
                raise piece
            pieces.append(piece)
        if sum(map(len, pieces)) < _INLINE_BYTES:
            return self._parse(pieces)
        return await self._runtime.offload(self._parse, pieces)

    async def _piece(self, number: int) -> Buffer | QuiverError:
        """Part of the object, the last one with all that is left; or why it cannot be had."""
        length = _PIECE if number < _PIECES - 1 else 2 * LARGEST
        try:
            return await self._get(number * _PIECE, length)
        except QuiverError as error:
            return error

    async def _get(self, start: int, length: int) -> Buffer:
        request = self._store.get(self._key, start, length)
        return await (request if self._pace is None else self._pace.timed(request, length))

    def _parse(self, pieces: Sequence[Buffer]) -> Opening:
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        _, payload = decode(Kind.OPENING, self._key, self._owner, body)
        return opening_format.decode(self._key, payload)

    async def generation(self) -> int | None:
        """Of the checkpoint in the opening, as it says; None when there is none, 0 when it is damaged.

        Raises StoreUnavailableError.
        """
        try:
            found = await self._store.get(self._key, 0, _PEEK_BYTES)
            identity, _ = peek(Kind.OPENING, self._key, self._owner, found)
        except ObjectNotFoundError:
            return None
        except DataError:
            return 0
        return identity.sequence

    async def replace(self, opening: Opening, *, present: bool) -> bool:
        """Put an opening in the place of what is `present`; False when somebody else's came in between.

        Raises StoreUnavailableError, StoreRefusedError: it may be there, late perhaps, or not.
        """
        payload = await self._runtime.offload(make_payload, opening_format.encode(opening))
        identity = Identity(self._key, self._owner, self._writer, opening.generation)
        if present:
            await self._store.delete([self._key])
            self._runtime.reach("opening:deleted")
        try:
            await self._store.put_new(self._key, encode(Kind.OPENING, identity, payload))
        except ObjectExistsError:
            return False
        self._runtime.reach("opening:created")
        return True
