"""The tree of a metadata filter, and the rule by which one vector's metadata match it.

The rule, where the S3 Vectors documentation is silent or brief:

- An array matches a condition when any one of its elements does. Each operator is judged by itself:
  `{"n": {"$gte": 5, "$lte": 1}}` matches `[0, 9]`.
- `$ne` is not-`$eq` and `$nin` is not-`$in`, so both match a vector that lacks the field.
- Types are never converted: `"1"`, `1` and `true` are three different values.
- Numbers compare by value and exactly: 1 equals 1.0, and 2**53 + 1 does not equal 2.0**53.
- Strings compare code point by code point, without normalisation.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from quiver.model.types import MetadataValue

Number: TypeAlias = int | float
Primitive: TypeAlias = str | int | float | bool


class RangeOperator(StrEnum):
    """How a number has to compare with the bound."""

    GT = "$gt"
    GTE = "$gte"
    LT = "$lt"
    LTE = "$lte"


@dataclass(frozen=True, slots=True, eq=False)
class In:
    """`$in`; also `$eq` and the bare value (one value). Negated: `$nin` and `$ne`.

    Attributes:
        field: the metadata key.
        values: what to look for; types may be mixed.
        negated: match when no value is found, which includes that the field is absent.
    """

    field: str
    values: tuple[Primitive, ...]
    negated: bool = False

    # To Python True equals 1; to a filter it does not, so generated equality would mix up two filters.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, In) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


@dataclass(frozen=True, slots=True)
class Range:
    """`$gt`, `$gte`, `$lt`, `$lte`: a number on one side of a finite bound."""

    field: str
    operator: RangeOperator
    bound: Number


@dataclass(frozen=True, slots=True)
class Exists:
    """`$exists`: the field is there, or (expected false) is not, whatever its value."""

    field: str
    expected: bool = True


@dataclass(frozen=True, slots=True)
class StartsWith:
    """`$startsWith`: a string that begins with the prefix; the empty prefix matches every string."""

    field: str
    prefix: str


@dataclass(frozen=True, slots=True)
class And:
    """`$and`, and several operators on one field: every part matches."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """`$or`: at least one part matches."""

    parts: tuple[Filter, ...]


Filter: TypeAlias = In | Range | Exists | StartsWith | And | Or

_HOLDS: dict[RangeOperator, Callable[[Number, Number], bool]] = {
    RangeOperator.GT: operator.gt,
    RangeOperator.GTE: operator.ge,
    RangeOperator.LT: operator.lt,
    RangeOperator.LTE: operator.le,
}


def matches(condition: Filter, metadata: Mapping[str, MetadataValue]) -> bool:
    """Whether one vector's metadata match. The reference: every index structure must agree with it."""
    match condition:
        case And(parts):
            return all(matches(part, metadata) for part in parts)
        case Or(parts):
            return any(matches(part, metadata) for part in parts)
        case Exists(field, expected):
            return (field in metadata) == expected
    found = any(_element_matches(condition, element) for element in _elements(metadata, condition.field))
    return found != (isinstance(condition, In) and condition.negated)


def _elements(metadata: Mapping[str, MetadataValue], field: str) -> Sequence[object]:
    if field not in metadata:
        return ()
    value = metadata[field]
    return value if isinstance(value, list) else (value,)


def _element_matches(condition: In | Range | StartsWith, element: object) -> bool:
    match condition:
        case In(_, values):
            return any(_equal(element, value) for value in values)
        case StartsWith(_, prefix):
            return isinstance(element, str) and element.startswith(prefix)
        case Range(_, comparison, bound):
            return is_number(element) and _HOLDS[comparison](element, bound)


def _equal(left: object, right: object) -> bool:
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def is_number(value: object) -> TypeGuard[Number]:
    """Whether a JSON value is a number; to Python a boolean is one, to JSON it is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)
