"""One client that creates, fills and deletes an index over and over, and knows every state it may be in."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from cluster.requests import Client, Outcome
from cluster.workload import BUCKET
from simulation.checkers.history import Violation

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Sequence

    from cluster.requests import Answer

NAMES = {"vectorBucketName": BUCKET, "indexName": "short-lived"}
KEYS = [f"k{n}" for n in range(8)]


class State(NamedTuple):
    """An index that exists: its dimension, and value by key."""

    dimension: int
    values: tuple[tuple[str, int], ...] = ()

    def put(self, keys: Sequence[str], value: int) -> State:
        return self._replace(values=tuple(sorted({**dict(self.values), **dict.fromkeys(keys, value)}.items())))


class Lifecycle:
    """`possible` holds each state (None: no index) that explains every answer so far.

    A request of unknown outcome adds states, an answer takes away those that it rules out; when none is left,
    the system broke a promise. Nothing else uses the index.
    """

    def __init__(self, values: Iterable[int], seed: str) -> None:
        self.possible: set[State | None] = {None}
        self.deletions = 0
        self._values = iter(values)
        self._chance = random.Random(seed)

    def run(self, client: Client, stopping: threading.Event) -> None:
        """Until told to stop, or an outcome is unknown: it may come later, so only after the next restart."""
        while not stopping.is_set() and self._step(client) is Outcome.OK:
            pass
        client.close()

    def observe(self, client: Client) -> bool:
        """Find out which state it is in; False when there was no answer."""
        answer = client.call("GetVectors", **NAMES, keys=KEYS, returnData=True)
        if answer.status == 404:
            self._keep({None} & self.possible, answer)
        elif answer.outcome is Outcome.OK:
            shown = {each["key"]: each["data"]["float32"] for each in answer.body["vectors"]}
            self._keep({state for state in self.possible if state and _explains(state, shown)}, answer)
        elif answer.outcome is Outcome.REFUSED or answer.status == 500:
            raise Violation(f"a lookup was answered {answer}")
        return answer.outcome in (Outcome.OK, Outcome.REFUSED)

    def _step(self, client: Client) -> Outcome:
        if None in self.possible:
            return self._create(client)
        (state,) = self.possible
        if self._chance.random() < 0.25:
            return self._delete(client)
        return self._put(client, state)

    def _create(self, client: Client) -> Outcome:
        dimension = self._chance.randint(1, 4)
        metric = {"dataType": "float32", "distanceMetric": "euclidean"}
        answer = client.call("CreateIndex", **NAMES, dimension=dimension, **metric)
        return self._after(answer, {State(dimension)})

    def _put(self, client: Client, state: State) -> Outcome:
        keys, value = self._chance.sample(KEYS, 3), next(self._values)
        vectors = [{"key": key, "data": {"float32": [value] * state.dimension}} for key in keys]
        return self._after(client.call("PutVectors", **NAMES, vectors=vectors), {state.put(keys, value)})

    def _delete(self, client: Client) -> Outcome:
        answer = client.call("DeleteIndex", **NAMES)
        self.deletions += answer.outcome is Outcome.OK
        return self._after(answer, {None})

    def _after(self, answer: Answer, effect: set[State | None]) -> Outcome:
        if answer.outcome is Outcome.OK:
            self._keep(effect, answer)
        elif answer.outcome is Outcome.UNKNOWN and answer.status != 500:
            self.possible |= effect
        elif answer.outcome is not Outcome.NOT_SENT:
            raise Violation(f"the index may be in {self.possible}, but a request was answered {answer}")
        return answer.outcome

    def _keep(self, states: set[State | None], answer: Answer) -> None:
        if not states:
            raise Violation(f"the index may be in {self.possible}, but the answer was {answer}")
        self.possible = states


def _explains(state: State, shown: dict[str, list[float]]) -> bool:
    return shown == {key: [float(value)] * state.dimension for key, value in state.values}
