"""Judges a request by the shape of its operation, and says all that is wrong in one error.

Values of the wrong JSON type end in a SerializationError at once, as do too many tags in a ValidationError.
Everything else is collected into one ValidationError, in the order of the shape's members, with the texts of the
Smithy server framework, which the service uses. Paths are JSON pointers, not escaped.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from quiver.model.errors import FieldError, SerializationError, ValidationError
from quiver.model.filter import is_number
from quiver.service.shapes import (
    Boolean,
    Document,
    FloatList,
    Integer,
    ListOf,
    MapOf,
    Number,
    String,
    Structure,
    Union,
)
from quiver.service.text import utf8_length

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from quiver.service.operations import Operation

_LISTED = 100
"""Violations listed in one error; more are counted only, so that an answer stays small."""
_SHOWN_KEY = 128
"""Characters of a map key shown in a path."""

_UPPER_CASE = {
    "distanceMetric": {"COSINE": "cosine", "EUCLIDEAN": "euclidean"},
    "dataType": {"FLOAT32": "float32"},
}
_NOT_FINITE = frozenset(("NaN", "Infinity", "-Infinity"))
_PLAIN_NUMBERS = frozenset((float, int))
_ARRAY_TYPES = (np.dtype(np.float32), np.dtype(np.float64))


def normalise(operation: Operation, params: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `params` with the upper-case enum spellings of older clients turned to those of the model."""
    normal = dict(params)
    for member, spellings in _UPPER_CASE.items():
        if member in normal and member in operation.input.members and isinstance(normal[member], str):
            normal[member] = spellings.get(normal[member], normal[member])
    return normal


def validate(operation: Operation, params: Mapping[str, Any]) -> None:
    """Judge a request by its operation's shape.

    Float lists may be sequences of numbers (also the strings "NaN", "Infinity", "-Infinity", which SDKs send) or
    one-dimensional float32 or float64 arrays; whether they are finite is judged later, with the index at hand.

    Raises:
        SerializationError: a value of the wrong JSON type, or a lone surrogate.
        ValidationError: violated constraints, all of them.
    """
    violations = _Violations()
    _check_members(operation.input, params, "", violations)
    if violations.count:
        violations.complain()


class _Violations:
    """What was found so far."""

    def __init__(self) -> None:
        self.count = 0
        self.fields: list[FieldError] = []

    def add(self, path: str, constraint: str, *, length: int | None = None, shown: str | None = None) -> None:
        """Note that the value at `path` violates `constraint`; `shown` is another spelling of the path."""
        self.count += 1
        if len(self.fields) < _LISTED:
            path = shown or path
            value = "Value" if length is None else f"Value with length {length}"
            text = f"{value} at '{path}' failed to satisfy constraint: {constraint}"
            self.fields.append(FieldError(path, text))

    def complain(self) -> NoReturn:
        noun = "error" if self.count == 1 else "errors"
        texts = "; ".join(field.message for field in self.fields)
        raise ValidationError(f"{self.count} validation {noun} detected. {texts}", *self.fields)


def _wrong_type(path: str, expected: str) -> NoReturn:
    raise SerializationError(f"Value at '{path}' must be {expected}")


def _check_string(shape: String, value: Any, path: str, violations: _Violations) -> None:
    if not isinstance(value, str):
        _wrong_type(path, "a string")
    if not value.isascii():
        utf8_length(value, path)
    if shape.enum and value not in shape.enum:
        violations.add(path, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")
    if shape.min is not None and shape.max is not None and not shape.min <= len(value) <= shape.max:
        _add_length(shape, value, path, violations)
    if shape.pattern is not None and not shape.pattern.matches(value):
        violations.add(path, f"Member must satisfy regular expression pattern: ^{shape.pattern.text}$")


def _add_length(shape: String | ListOf, value: Sequence[Any], path: str, violations: _Violations) -> None:
    constraint = f"Member must have length between {shape.min} and {shape.max}, inclusive"
    violations.add(path, constraint, length=len(value))


def _check_integer(shape: Integer, value: Any, path: str, violations: _Violations) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        _wrong_type(path, "an integer")
    if not shape.min <= value <= shape.max:
        violations.add(path, f"Member must be between {shape.min} and {shape.max}, inclusive")


def _check_number(shape: Number, value: Any, path: str, violations: _Violations) -> None:
    if not is_number(value):
        _wrong_type(path, "a number")
    if not shape.min <= value <= shape.max:
        violations.add(path, f"Member must be between {shape.min:g} and {shape.max:g}, inclusive")


def _check_boolean(shape: Boolean, value: Any, path: str, violations: _Violations) -> None:  # noqa: ARG001
    if not isinstance(value, bool):
        _wrong_type(path, "true or false")


def _check_members(shape: Structure, value: Any, path: str, violations: _Violations) -> None:
    if not isinstance(value, dict):
        _wrong_type(path or "/", "an object")
    for name, member in shape.members.items():
        item = value.get(name)
        if item is not None:
            _CHECKS[type(member)](member, item, f"{path}/{name}", violations)
        elif name in shape.required:
            violations.add(f"{path}/{name}", "Member must not be null")


def _check_union(shape: Union, value: Any, path: str, violations: _Violations) -> None:
    if not isinstance(value, dict):
        _wrong_type(path, "an object")
    present = [name for name in shape.members if value.get(name) is not None]
    if len(present) != 1:
        _wrong_type(path, f"an object with exactly one of: {', '.join(shape.members)}")
    name = present[0]
    member = shape.members[name]
    _CHECKS[type(member)](member, value[name], f"{path}/{name}", violations)


def _check_list(shape: ListOf, value: Any, path: str, violations: _Violations) -> None:
    """Of a list that is too long only as many members are looked at as it may have."""
    if not isinstance(value, list | tuple):
        _wrong_type(path, "a list")
    if shape.min is not None and shape.max is not None and not shape.min <= len(value) <= shape.max:
        _add_length(shape, value, path, violations)
    check = _CHECKS[type(shape.member)]
    for position, item in enumerate(value[: shape.max]):
        if item is None:
            _wrong_type(f"{path}/{position}", "a value, not null")
        check(shape.member, item, f"{path}/{position}", violations)


def _check_map(shape: MapOf, value: Any, path: str, violations: _Violations) -> None:
    """A key at fault is reported at the map, a value at fault at its key."""
    if not isinstance(value, dict):
        _wrong_type(path, "an object")
    if len(value) > shape.max:
        raise ValidationError.at(path, shape.too_many)
    for key, item in value.items():
        _check_string(shape.key, key, path, violations)
        _check_string(shape.value, item, f"{path}/{key[:_SHOWN_KEY]}", violations)


def _check_floats(shape: FloatList, value: Any, path: str, violations: _Violations) -> None:  # noqa: ARG001
    """The type of every component, before NumPy could turn `true` into 1.0 or "1.5" into 1.5."""
    if isinstance(value, np.ndarray):
        sound = value.ndim == 1 and value.dtype in _ARRAY_TYPES
    elif isinstance(value, list | tuple):
        sound = _PLAIN_NUMBERS.issuperset(map(type, value)) or all(map(_is_component, value))
    else:
        _wrong_type(path, "a list of numbers")
    if not sound:
        shown = re.sub(r"/(\d+)", r"[\1]", path).lstrip("/").replace("/", ".")
        violations.add(path, "Member must be a list of numbers", shown=shown)


def _is_component(item: Any) -> bool:
    if isinstance(item, str):
        return item in _NOT_FINITE
    return isinstance(item, int | float | np.floating | np.integer) and not isinstance(item, bool)


_CHECKS: Mapping[type, Callable[[Any, Any, str, _Violations], None]] = {
    String: _check_string,
    Integer: _check_integer,
    Number: _check_number,
    Boolean: _check_boolean,
    Document: lambda *_: None,  # any JSON value
    Structure: _check_members,
    Union: _check_union,
    FloatList: _check_floats,
    ListOf: _check_list,
    MapOf: _check_map,
}
"""How a value is judged, by the kind of its shape."""
