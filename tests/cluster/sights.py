"""What the nemesis' clients ask for and saw: values in vectors, and which of them an answer leaves out."""

from __future__ import annotations

from math import hypot
from typing import TYPE_CHECKING, Any, NamedTuple

from cluster.workload import RADIX, record, value_of
from simulation.checkers.history import Violation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PARTS = 3
"""A filter asks for the values with one remainder by this."""
CLOSE = 1e-5
"""How far distances may be off, relatively."""
Origin = tuple[int, int]


class Sight(NamedTuple):
    """One answer to a read: `values` is value by key, of those in `keys` that it showed.

    `hides` tells whether it leaves out a key that holds a value; None when it shows every key that is there.
    """

    call: float
    end: float
    keys: Sequence[str]
    values: Mapping[str, int]
    commit: int | None
    source: str
    hides: Callable[[int], bool] | None = None


class Question(NamedTuple):
    """A read: the operation with its parameters, the keys that it is about, and how its answer is checked."""

    operation: str
    parameters: Mapping[str, Any]
    keys: Sequence[str]
    part: int | None = None
    origin: Origin | None = None
    limit: int = 0

    def sight(self, call: float, end: float, shown: Sequence[Mapping[str, Any]], commit: int | None) -> Sight:
        """What an answer showed. Raises Violation when it contradicts itself, or the question."""
        values = {each["key"]: value_of(each) for each in shown}
        if len(values) != len(shown) or not values.keys() <= set(self.keys):
            raise Violation(f"{self.operation} shows keys twice, or others than it was asked for: {shown}")
        hides: Callable[[int], bool] | None = None
        if self.part is not None:
            hides = self._without_the_part(values)
        if self.origin is not None:
            hides = self._beyond_the_last(self.origin, shown, values)
        return Sight(call, end, self.keys, values, commit, self.operation, hides)

    def _without_the_part(self, values: Mapping[str, int]) -> Callable[[int], bool]:
        part = self.part
        if any(value % PARTS != part for value in values.values()):
            raise Violation(f"{self.operation} filtered by {part} shows {values}")
        return lambda value: value % PARTS != part

    def _beyond_the_last(
        self, origin: Origin, shown: Sequence[Mapping[str, Any]], values: Mapping[str, int]
    ) -> Callable[[int], bool] | None:
        """Distances are those of the values, and grow; what is not shown is no nearer than the last."""
        told = [each["distance"] for each in shown]
        right = [distance(values[each["key"]], origin) for each in shown]
        if told != sorted(told) or any(abs(a - b) > CLOSE * (1 + b) for a, b in zip(told, right, strict=True)):
            raise Violation(f"{self.operation} near {origin} tells distances {told}, but they are {right}")
        if len(shown) > self.limit:
            raise Violation(f"{self.operation} shows {len(shown)} vectors of at most {self.limit}")
        if len(shown) < self.limit:
            return None
        nearest = told[-1] * (1 - CLOSE)
        return lambda value: distance(value, origin) >= nearest


def vector(key: str, value: int) -> dict[str, Any]:
    """A vector that carries its value twice, and the part that filters ask for."""
    made = record(key, value)
    made["metadata"]["part"] = value % PARTS
    return made


def distance(value: int, origin: Origin) -> float:
    """Euclidean, of the vector that carries the value."""
    high, low = divmod(value, RADIX)
    return hypot(high - origin[0], low - origin[1])


def get(keys: Sequence[str]) -> Question:
    """GetVectors."""
    return Question("GetVectors", {"keys": list(keys), "returnData": True, "returnMetadata": True}, keys)


def list_all(keys: Sequence[str]) -> Question:
    """ListVectors of an index that has no other keys than these."""
    return Question("ListVectors", {"returnData": True, "returnMetadata": True}, keys)


def query_all(keys: Sequence[str], part: int | None = None) -> Question:
    """QueryVectors for all vectors, or for those of one part."""
    parameters = {"topK": 100, "queryVector": {"float32": [0, 0]}, "returnMetadata": True}
    if part is not None:
        parameters["filter"] = {"part": part}
    return Question("QueryVectors", parameters, keys, part=part)


def query_near(keys: Sequence[str], origin: Origin, limit: int) -> Question:
    """QueryVectors for the nearest few."""
    near = {"float32": list(origin)}
    parameters = {"topK": limit, "queryVector": near, "returnMetadata": True, "returnDistance": True}
    return Question("QueryVectors", parameters, keys, origin=origin, limit=limit)
