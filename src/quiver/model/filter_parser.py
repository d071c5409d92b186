"""The strict parser of the S3 Vectors filter language, from decoded JSON to a filter tree.

Every condition object has exactly one key: a field, `$and` or `$or`. Several operators on one field are
allowed and all have to match. A top-level key that starts with `$` and is not `$and` or `$or` is an unknown
operator, also where metadata hold a key of that name.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from quiver.model.errors import ValidationError
from quiver.model.filter import And, Exists, In, Or, Range, RangeOperator, StartsWith, is_number

if TYPE_CHECKING:
    from collections.abc import Collection

    from quiver.model.filter import Filter, Number, Primitive

MAX_CONSTRAINTS = 100
MAX_DEPTH = 16
MAX_NODES = 1024

INVALID = "Invalid filter"
NON_FILTERABLE = "Invalid use of non-filterable metadata in filter"


def parse_filter(document: object, non_filterable: Collection[str] = (), *, several_keys: bool = False) -> Filter:
    """The filter a JSON document states.

    Args:
        document: decoded JSON.
        non_filterable: metadata keys of the index that a filter may not name.
        several_keys: lenient: a condition object may have more than one key, and all have to match.

    Raises:
        ValidationError: at path `filter`; the document is outside the language, names a non-filterable key,
            or has more than 100 constraints, 16 levels or 1,024 nodes. A constraint is one value compared:
            `$in` and `$nin` count their values, every other operator counts 1, `$and` and `$or` count 0.
    """
    return _Parser(non_filterable, several_keys=several_keys).condition(document, 1)


def _refusal(message: str = INVALID) -> ValidationError:
    return ValidationError.at("filter", message)


class _Parser:
    """One parse: counts nodes and constraints as it goes, so that a huge filter is refused early."""

    def __init__(self, non_filterable: Collection[str], *, several_keys: bool) -> None:
        self._non_filterable = non_filterable
        self._several_keys = several_keys
        self._constraints = 0
        self._nodes = 0

    def condition(self, document: object, depth: int) -> Filter:
        if depth > MAX_DEPTH:
            raise _refusal(f"{INVALID}: more than {MAX_DEPTH} levels")
        if not isinstance(document, dict) or not document:
            raise _refusal()
        if len(document) == 1:
            return self._member(*next(iter(document.items())), depth)
        if not self._several_keys:
            raise _refusal()
        self._count(constraints=0)
        return And(tuple(self._member(key, operand, depth) for key, operand in document.items()))

    def _member(self, key: object, operand: object, depth: int) -> Filter:
        if key in ("$and", "$or"):
            parts = self._parts(operand, depth)
            return And(parts) if key == "$and" else Or(parts)
        if _string(key).startswith("$"):
            raise _refusal()
        return self._field(_string(key), operand)

    def _parts(self, operand: object, depth: int) -> tuple[Filter, ...]:
        if not isinstance(operand, list) or not operand:
            raise _refusal()
        self._count(constraints=0)
        return tuple(self.condition(part, depth + 1) for part in operand)

    def _field(self, field: str, operand: object) -> Filter:
        if field in self._non_filterable:
            raise _refusal(NON_FILTERABLE)
        if not isinstance(operand, dict):
            return self._operation(field, "$eq", operand)
        if not operand:
            raise _refusal()
        if len(operand) > 1:
            self._count(constraints=0)
        parts = tuple(self._operation(field, name, value) for name, value in operand.items())
        return parts[0] if len(parts) == 1 else And(parts)

    def _operation(self, field: str, name: object, operand: object) -> Filter:
        self._count(constraints=len(operand) if isinstance(operand, list) else 1)
        match name:
            case "$eq" | "$ne":
                return In(field, (_primitive(operand),), negated=name == "$ne")
            case "$in" | "$nin":
                return In(field, _primitives(operand), negated=name == "$nin")
            case "$gt" | "$gte" | "$lt" | "$lte":
                return Range(field, RangeOperator(name), _number(operand))
            case "$exists" if isinstance(operand, bool):
                return Exists(field, operand)
            case "$startsWith":
                return StartsWith(field, _string(operand))
        raise _refusal()

    def _count(self, constraints: int) -> None:
        self._nodes += 1
        self._constraints += constraints
        if self._constraints > MAX_CONSTRAINTS:
            raise _refusal(f"{INVALID}: more than {MAX_CONSTRAINTS} constraints")
        if self._nodes > MAX_NODES:
            raise _refusal(f"{INVALID}: more than {MAX_NODES} conditions")


def _primitives(operand: object) -> tuple[Primitive, ...]:
    if not isinstance(operand, list) or not operand:
        raise _refusal()
    return tuple(map(_primitive, operand))


def _primitive(operand: object) -> Primitive:
    if isinstance(operand, int):  # or a boolean
        return operand
    return _string(operand) if isinstance(operand, str) else _number(operand)


def _number(operand: object) -> Number:
    if not is_number(operand) or (isinstance(operand, float) and not math.isfinite(operand)):
        raise _refusal()
    return operand


def _string(operand: object) -> str:
    """A string without lone surrogates, which no stored string can hold."""
    if not isinstance(operand, str):
        raise _refusal()
    try:
        operand.encode()
    except UnicodeEncodeError:
        raise _refusal() from None
    return operand
