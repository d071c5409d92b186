"""The patrol of a maintainer: looks at every index of a root again and again, and does what writers leave to it.

Any number of maintainers may be on patrol at the same root: whatever they do at the same time costs at most the
work of one of them. They seldom do. Each goes through the indexes in an order of its own and rests for a time of
its own; before it works on an index it looks at its newest checkpoint; and what takes long is announced there.

One listing tells which indexes have changed; of the others nothing is asked. What an index gave up can be
collected when it is old enough, so a collection is due that long after a change. Now and then everything is
collected: the catalog, clones that were given up, deleted indexes.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import xxhash

from quiver.format import paths
from quiver.model.errors import NotFoundError, QuiverError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quiver.engine.upkeep import Upkeep
    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectStore
    from quiver.service.administration import Administration

_WALK_SECONDS = 3600.0
_MARGIN = 1.0  # the store's clock may tick in whole seconds


class Look(NamedTuple):
    """What a listing shows of an index."""

    checkpoint: int
    slot: int
    segments: int


class Patrol:
    """One maintainer's.

    Args:
        age: seconds that unreferenced objects are left alone, by the store's clock.
        period: seconds between two rounds, about.
        tell: is told what went wrong, with which index ("" for the round), unless it was in the round before too.

    Attributes:
        failures: rounds, and indexes in them, with which something went wrong.
    """

    def __init__(
        self,
        store: ObjectStore,
        runtime: Runtime,
        administration: Administration,
        upkeep: Upkeep,
        *,
        age: float,
        period: float,
        tell: Callable[[str, Exception], None] = lambda _, __: None,
    ) -> None:
        self.failures = 0
        self._tell = tell
        self._failed: set[tuple[str, type[Exception]]] = set()  # in this round
        self._failed_before: set[tuple[str, type[Exception]]] = set()
        self._store = store
        self._runtime = runtime
        self._administration = administration
        self._upkeep = upkeep
        self._age = age
        self._period = period
        self._name = runtime.new_id()
        self._seen: dict[str, Look] = {}
        self._due: dict[str, float] = {}
        self._next_walk = runtime.monotonic() + runtime.random() * period

    async def run(self) -> None:
        """Be on patrol until cancelled."""
        while True:
            try:
                await self.round()
            except Exception as error:  # noqa: BLE001 - whatever it was, the next round may fare better
                self._note("", error)
            await self._runtime.sleep(self._period * (0.5 + self._runtime.random()))

    async def round(self) -> None:
        """Look at every index once; what fails of one is told. Raises StoreUnavailableError, DataError."""
        self._failed_before, self._failed = self._failed, set()
        named = {index.index_id: index for index in await self._administration.indexes()}
        looks = await self._survey()
        for index_id in sorted(looks, key=self._place):
            index = named.get(index_id)
            changed = self._seen.get(index_id) != looks[index_id]
            if changed:
                self._due.setdefault(index_id, self._runtime.monotonic() + self._age + _MARGIN)
            with suppress(NotFoundError):  # deleted meanwhile
                if changed and (
                    index is None or await self._try(index_id, self._upkeep.tend(index_id, index.spec))
                ):
                    self._seen[index_id] = looks[index_id]
                if self._due.get(index_id, self._runtime.monotonic() + 1) <= self._runtime.monotonic():
                    clean = self._upkeep.collect if index else self._upkeep.discard
                    del self._due[index_id]
                    await self._try(index_id, clean(index_id, self._age))
        self._forget(looks)
        if self._runtime.monotonic() >= self._next_walk:
            self._next_walk = self._runtime.monotonic() + max(_WALK_SECONDS, self._age)
            async for _ in self._administration.collect(self._age):
                pass

    async def _try(self, index_id: str, work: Awaitable[object]) -> bool:
        """Whether it was done; an index that fails must not keep the others waiting."""
        try:
            if await work is not False:
                return True
            self._note(index_id, UnavailableError("A flush or a merge failed"))
        except NotFoundError:
            raise
        except QuiverError as error:
            self._note(index_id, error)
        return False

    def _note(self, index_id: str, error: Exception) -> None:
        self.failures += 1
        kind = (index_id, type(error))
        if kind not in self._failed | self._failed_before:
            self._tell(index_id, error)
        self._failed.add(kind)

    async def _survey(self) -> dict[str, Look]:
        looks: dict[str, Look] = {}
        for info in await self._store.list(paths.INDEX_ROOT):
            index_id = paths.index_of(info.key)
            if index_id is not None:
                name = paths.classify(paths.index_root(index_id), info.key)
                if name.kind in ("log", "checkpoint", "segment"):
                    look = looks.get(index_id, Look(0, 0, 0))
                    looks[index_id] = Look(
                        max(look.checkpoint, name.generation if name.kind == "checkpoint" else 0),
                        max(look.slot, name.slot),
                        look.segments + (name.kind == "segment"),
                    )
        return looks

    def _place(self, index_id: str) -> int:
        return xxhash.xxh3_64_intdigest((self._name + index_id).encode())

    def _forget(self, looks: dict[str, Look]) -> None:
        """What is gone."""
        for index_id in self._seen.keys() - looks.keys():
            self._seen.pop(index_id)
            self._due.pop(index_id, None)
