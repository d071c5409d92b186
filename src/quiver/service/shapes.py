"""The vocabulary requests are described in: small declarative records, one per kind of input value.

A shape says what a value must be; validation.py judges values by it. Bounds and names are those of the service
model; `None` as a bound means that the model has none.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Pattern:
    """A constraint on the whole of a string.

    Attributes:
        text: the regular expression of the service model, as error messages print it (without anchors).
        matches: whether a string satisfies it from first to last character.
    """

    text: str
    matches: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class String:
    """Text without lone surrogates; `min` and `max` count Unicode characters, inclusive."""

    min: int | None = None
    max: int | None = None
    pattern: Pattern | None = None
    enum: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Integer:
    """A JSON number without fraction or exponent, from `min` to `max` inclusive."""

    min: int
    max: int


@dataclass(frozen=True, slots=True)
class Number:
    """A JSON number from `min` to `max` inclusive."""

    min: float
    max: float


@dataclass(frozen=True, slots=True)
class Boolean:
    """True or false."""


@dataclass(frozen=True, slots=True)
class FloatList:
    """The components of a vector: a list of numbers, or a one-dimensional float32 or float64 array."""


@dataclass(frozen=True, slots=True)
class Document:
    """Any JSON value; metadata_rules.py and the filter parser look inside."""


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of `min` to `max` members, inclusive."""

    member: Shape
    min: int | None = None
    max: int | None = None


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object with free keys, at most `max`; `too_many` is the service's text for more."""

    key: String
    value: String
    max: int
    too_many: str


@dataclass(frozen=True, slots=True)
class Structure:
    """An object with named members; members it does not name are ignored, null counts as absent."""

    members: Mapping[str, Shape] = field(default_factory=dict)
    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Union:
    """An object of which exactly one named member is present."""

    members: Mapping[str, Shape]


Shape: TypeAlias = String | Integer | Number | Boolean | FloatList | Document | ListOf | MapOf | Structure | Union


def regex(text: str) -> Pattern:
    """A pattern that Python's `re` understands as it stands."""
    compiled = re.compile(text)
    return Pattern(text, lambda value: compiled.fullmatch(value) is not None)


def categories(text: str, general: str, literal: str) -> Pattern:
    r"""A pattern of the form `([\p{..}literals]*)`, which `re` cannot express.

    Args:
        text: the regular expression as the model spells it.
        general: first letters of the Unicode general categories allowed.
        literal: single characters allowed besides.
    """

    def matches(value: str) -> bool:
        return all(c in literal or unicodedata.category(c)[0] in general for c in set(value))

    return Pattern(text, matches)
