"""What every operation of the service works with, and what it answers."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from quiver.engine.engine import IndexSealedError
from quiver.model.errors import NotFoundError, ValidationError
from quiver.model.filter_parser import parse_filter
from quiver.service.catalog_commands import DropIndex
from quiver.service.leniency import STRICT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from quiver.engine.engine import Engine, Hits, SourceWork
    from quiver.model.filter import Filter
    from quiver.model.runtime import Runtime
    from quiver.model.types import IndexSpec
    from quiver.service.arn import Home, IndexRef
    from quiver.service.catalog import Catalog
    from quiver.service.catalog_state import Index
    from quiver.service.encryption import Encryption
    from quiver.service.leniency import Leniency
    from quiver.service.pace import Pace
    from quiver.service.page_tokens import PageTokens
    from quiver.service.roles import Role

T = TypeVar("T")


class Response:
    """What an operation answers.

    Attributes:
        commit: the index's commit number the answer was computed at; None for operations on no vectors.
        work: what a query did for it, for a response header.
        hits: what each query found, as `body` shows it.
        next_token: of a query, as in `body`.
    """

    __slots__ = ("_body", "commit", "hits", "next_token", "work")

    def __init__(
        self,
        body: dict[str, Any] | Callable[[], dict[str, Any]] | None = None,
        commit: int | None = None,
        work: Sequence[SourceWork] = (),
        hits: Sequence[Hits] = (),
        next_token: str | None = None,
    ) -> None:
        """`body` may be what makes it: who reads the hits needs none."""
        self._body = {} if body is None else body
        self.commit = commit
        self.work = work
        self.hits = hits
        self.next_token = next_token

    @property
    def body(self) -> dict[str, Any]:
        """Members of the output shape, for orjson: metadata are `orjson.Fragment`, vectors NumPy arrays, times
        whole seconds since the epoch."""
        if not isinstance(self._body, dict):
            self._body = self._body()
        return self._body


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of a service."""

    catalog: Catalog
    engine: Engine
    tokens: PageTokens
    runtime: Runtime
    home: Home
    pace: Pace
    role: Role
    encryption: Encryption
    leniency: Leniency = STRICT

    def condition(self, document: Any, spec: IndexSpec) -> Filter:
        """The filter that a request states for an index. Raises ValidationError."""
        return parse_filter(document, spec.non_filterable, several_keys=self.leniency.filters)

    async def on_index(self, ref: IndexRef, action: Callable[[Index], Awaitable[T]]) -> T:
        """Do `action` on the index of this name, without asking the catalog when the name was resolved before.

        A name resolved long ago may stand for an index deleted since: that one is sealed, whatever is done to
        it fails cleanly, and the name is resolved again. So it is before a request is refused that does not
        suit the index, for it may suit a new one of the same name.

        Raises: NotFoundError: the name stands for no index; and whatever `action` raises.
        """
        index = await self.catalog.cached_index(ref)
        try:
            return await action(index)
        except (IndexSealedError, ValidationError) as error:
            now = await self.catalog.index(ref)
            if now.index_id == index.index_id:
                if isinstance(error, IndexSealedError):
                    await self._finish_deletion(index)
                raise
        try:
            return await action(now)
        except IndexSealedError:
            await self._finish_deletion(now)
            raise

    async def on_index_now(self, ref: IndexRef, action: Callable[[Index], Awaitable[T]]) -> T:
        """Do `action`, once, on the index that the name stands for now: for work that cannot be begun again.

        Raises: NotFoundError: the name stands for no index; and whatever `action` raises.
        """
        index = await self.catalog.index(ref)
        try:
            return await action(index)
        except IndexSealedError:
            await self._finish_deletion(index)
            raise

    async def _finish_deletion(self, sealed: Index) -> None:
        """Take the name away too, when a deletion was cut short after the seal or has not come so far yet.

        Else the index would be not found by the request that met the seal, and found by the next one. Who only
        reads leaves it to others.
        """
        if not self.role.writes:
            return
        with suppress(NotFoundError):
            await self.catalog.execute(DropIndex(sealed.index_id))
