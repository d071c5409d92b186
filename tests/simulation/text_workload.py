"""Clients that also add, delete and search a text field, on every node at once.

The field is one more register, which holds its language: adding it is possible only when it is not there, deleting
only when it is. And once it could be searched, it can be until it is deleted.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from quiver.engine.engine import TextFieldBuildingError, TextFieldConflictError, UnknownTextFieldError
from quiver.model.errors import BusyError, RetryError
from quiver.objectstore.store import StoreRefusedError
from simulation.checkers.history import UNKNOWN, Kind, Operation, Violation
from simulation.conditional_workload import ConditionalWorkload
from simulation.replica import CLASSES
from simulation.workload import KEYS, Snapshot
from simulation.world import Node, NodeDownError

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from simulation.vectors import VectorReplica

FIELD = "text field"
"""The register's name."""
LANGUAGES = ("standard", "standard", "en")
CHANGES, SEARCHES = 0.2, 0.35
"""Of all requests."""


class Sight(NamedTuple):
    """Whether the field could be searched at some time between these."""

    call: float
    end: float
    active: bool


class TextWorkload(ConditionalWorkload):
    """The rows found by text are those of the log at their commit, as of any other search."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.history.loaded.add(FIELD)  # the check of commit numbers alone knows nothing of it
        self.sights: list[Sight] = []
        self.changes: list[tuple[float, float]] = []

    async def _request(self, node: Node) -> None:
        draw = self.world.random.random()
        if draw < CHANGES:
            await self._change(node)
        elif draw < CHANGES + SEARCHES:
            await self._search(node)
        else:
            await super()._request(node)

    async def _change(self, node: Node) -> None:
        random, replica = self.world.random, self._texts_of(node)
        language = random.choice(LANGUAGES) if random.random() < 0.7 else None
        kind = Kind.DROP if language is None else Kind.CREATE
        call = self.world.loop.time()
        try:
            await self._answer_of(node, replica.configure(language))
        except TextFieldConflictError:
            self._see(call, Kind.EXISTS)
        except UnknownTextFieldError:
            self._see(call, Kind.GET)
        except (BusyError, StoreRefusedError):
            self._note("text field refused", language)
        except (RetryError, NodeDownError, TimeoutError):
            self.history.operations.append(Operation(call, UNKNOWN, kind, language, FIELD))
            self.changes.append((call, UNKNOWN))
            self.history.unknown += 1
        else:
            self._see(call, kind, language)
            self.changes.append((call, self.world.loop.time()))

    async def _search(self, node: Node) -> None:
        replica, call = self._texts_of(node), self.world.loop.time()
        value_class = self.world.random.choice([None, self.world.random.randrange(CLASSES)])
        try:
            answer = await self._answer_of(node, replica.search(value_class))
        except UnknownTextFieldError:
            self._see(call, Kind.GET)
        except TextFieldBuildingError:
            self._see(call, Kind.EXISTS)
            self.sights.append(Sight(call, self.world.loop.time(), False))
        except (RetryError, NodeDownError, TimeoutError) as error:
            self._note("no answer", "search", type(error).__name__)
        else:
            end = self.world.loop.time()
            self._see(call, Kind.EXISTS)
            self.sights.append(Sight(call, end, True))
            self._note("search", value_class, sorted(answer.values.items()), answer.commit)
            self.history.read(Snapshot(answer, KEYS, value_class, None, "search", call, end))

    async def _answer_of(self, node: Node, work: Coroutine[Any, Any, Any]) -> Any:
        self.history.requests += 1
        async with asyncio.timeout(self.plan.patience):
            return await node.call(work)

    def _see(self, call: float, kind: Kind, language: str | None = None) -> None:
        self._note("text field", kind, language)
        self.history.operations.append(Operation(call, self.world.loop.time(), kind, language, FIELD))

    def _texts_of(self, node: Node) -> VectorReplica:
        replica: Any = self._replicas[node]
        return replica

    async def _settle(self) -> VectorReplica:
        """In the end the field can be searched, and every row is found."""
        replica: Any = await super()._settle()
        (node,) = (node for node, theirs in self._replicas.items() if theirs is replica)
        with suppress(TextFieldConflictError):
            await node.call(replica.configure(LANGUAGES[0]))
        await node.call(replica.index.maintenance.flush())
        await node.call(replica.index.maintenance.compact_all())
        found, due = await node.call(replica.search(None)), await node.call(replica.get(KEYS))
        if dict(found.values) != dict(due.values):
            raise Violation(f"a text is found in {dict(found.values)}, but these have it: {dict(due.values)}")
        self._check_sights()
        return replica

    def _check_sights(self) -> None:
        """Raises Violation when the field could be searched, and later not, though nobody deleted it."""
        for seen in (sight for sight in self.sights if sight.active):
            for lost in (sight for sight in self.sights if not sight.active and sight.call > seen.end):
                if not any(call < lost.end and end > seen.call for call, end in self.changes):
                    raise Violation(
                        f"a text field that could be searched at {seen.end} is being built at {lost.call}"
                    )
