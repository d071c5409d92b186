"""Clients that also put what is absent and rewrite what is there, on every node at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from quiver.model.errors import BusyError, RequestError, RetryError
from quiver.objectstore.store import StoreRefusedError
from simulation.checkers.history import ANYTHING, UNKNOWN, Kind, Operation
from simulation.workload import REGISTERS, Workload
from simulation.world import Node, NodeDownError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHARE = 0.5
"""Of all requests."""


class ConditionalWorkload(Workload):
    """The keys of conditional writes are also put, deleted and loaded, as any other."""

    async def _request(self, node: Node) -> None:
        random = self.world.random
        if random.random() >= SHARE:
            await super()._request(node)
        elif random.random() < 0.5:
            await self._put_absent(node, self._some_keys())
        else:
            await self._rewrite(node, self._some_keys())

    def _some_keys(self) -> list[str]:
        return self.world.random.sample(REGISTERS, self.world.random.randint(1, len(REGISTERS)))

    async def _put_absent(self, node: Node, keys: Sequence[str]) -> None:
        value, call = self.history.new_value(), self.world.loop.time()
        written = await self._ask(node, "put_absent", Kind.CREATE, keys, value)
        if written is not None:
            for key in keys:
                self._tell(call, Kind.CREATE if key in written else Kind.EXISTS, key, value)

    async def _rewrite(self, node: Node, keys: Sequence[str]) -> None:
        value, call = self.history.new_value(), self.world.loop.time()
        found = await self._ask(node, "rewrite", Kind.SWAP, keys, value)
        if found is not None:
            for key in keys:
                if key in found:
                    self._tell(call, Kind.SWAP, key, value, found[key])
                else:
                    self._tell(call, Kind.GET, key, None)

    async def _ask(
        self, node: Node, name: str, kind: Kind, keys: Sequence[str], value: int
    ) -> Mapping[str, int] | None:
        """What the replica says; None when nothing is known of it, which is then recorded, or when it refused."""
        replica, call = self._replicas[node], self.world.loop.time()
        self.history.requests += 1
        self.history.loaded.update(keys)  # the check of commit numbers alone does not know of conditions
        work = replica.put_absent(keys, value) if kind is Kind.CREATE else replica.rewrite(keys, value)
        try:
            async with asyncio.timeout(self.plan.patience):
                answer = await node.call(work)
        except (RequestError, BusyError, StoreRefusedError) as error:
            self._note("refused", name, keys, value, type(error).__name__)
        except (RetryError, NodeDownError, TimeoutError) as error:
            self._note("unknown", name, keys, value, type(error).__name__)
            self.history.unknown += 1
            self.history.operations += [Operation(call, UNKNOWN, kind, value, key, found=ANYTHING) for key in keys]
        else:
            self._note(name, keys, value, sorted(answer.items()))
            return answer
        return None

    def _tell(self, call: float, kind: Kind, key: str, value: object, found: object = None) -> None:
        self.history.operations.append(Operation(call, self.world.loop.time(), kind, value, key, found=found))
