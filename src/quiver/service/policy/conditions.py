"""Conditions of a policy statement: operators, and what they say of a request."""

from __future__ import annotations

import ipaddress
import operator
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from quiver.service.policy.errors import PolicyError
from quiver.service.policy.patterns import Context, Pattern

if TYPE_CHECKING:
    from collections.abc import Callable

    Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

T = TypeVar("T")

Test: TypeAlias = "Callable[[str, Context], bool]"
"""Whether one value of a request fits one value of the policy."""

_KEY = re.compile(r"[A-Za-z0-9-]+:[^\x00-\x1f*?]+")
_IF_EXISTS = "IfExists"


class Quantifier(StrEnum):
    """What is asked of a key with several values."""

    ALL = "ForAllValues"
    ANY = "ForAnyValue"


class Operator(NamedTuple):
    """A condition operator. `prepare` makes a test of a policy's value, and raises PolicyError."""

    prepare: Callable[[str, bool], Test]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """One key of one operator.

    Attributes:
        key: the condition key, in lower case.
        tests: one for each value of the policy; any that fits is enough.
        negated: the operator asks that none fits.
        quantifier: for keys with several values; without one, any of them may fit and, negated, none.
        if_exists: a request that lacks the key fulfils the condition.
        absent: of the operator Null: whether the key has to be absent; None for all others.
    """

    key: str
    tests: tuple[Test, ...]
    negated: bool = False
    quantifier: Quantifier | None = None
    if_exists: bool = False
    absent: bool | None = None

    def holds(self, context: Context) -> bool:
        """Whether a request fulfils it."""
        values = context.get(self.key, ())
        if self.absent is not None:
            return (not values) == self.absent
        if not values:
            return self.if_exists or self._holds_without()
        if self.quantifier is Quantifier.ALL:
            return all(self._fits(value, context) != self.negated for value in values)
        if self.quantifier is Quantifier.ANY:
            return any(self._fits(value, context) != self.negated for value in values)
        return any(self._fits(value, context) for value in values) != self.negated

    def _holds_without(self) -> bool:
        return self.negated if self.quantifier is None else self.quantifier is Quantifier.ALL

    def _fits(self, value: str, context: Context) -> bool:
        return any(test(value, context) for test in self.tests)


def read_conditions(block: Any, place: str, *, variables: bool) -> tuple[Condition, ...]:
    """The conditions of a `Condition` block, all of which have to hold. Raises PolicyError."""
    if not isinstance(block, dict):
        raise PolicyError(f"{place} must be an object")
    found: list[Condition] = []
    for name, keys in block.items():
        if not isinstance(keys, dict) or not keys:
            raise PolicyError(f"{place}.{name} must be an object of condition keys")
        for key, given in keys.items():
            try:
                found.append(_read_condition(name, key, given, variables))
            except PolicyError as error:
                raise PolicyError(f"{place}.{name}.{key}: {error}") from None
    return tuple(found)


def _read_condition(name: str, key: str, given: Any, variables: bool) -> Condition:
    if not _KEY.fullmatch(key):
        raise PolicyError("not a condition key")
    quantifier, base, if_exists = _split(name)
    values = _texts(given)
    if base == "Null":
        if if_exists or len(values) != 1:
            raise PolicyError("Null takes one value, true or false")
        return Condition(key.lower(), (), absent=_boolean(values[0]))
    if base not in OPERATORS:
        raise PolicyError("not a condition operator")
    prepare, negated = OPERATORS[base]
    tests = tuple(prepare(value, variables) for value in values)
    return Condition(key.lower(), tests, negated, quantifier, if_exists)


def _split(name: str) -> tuple[Quantifier | None, str, bool]:
    """Quantifier, operator, and whether IfExists stands behind it."""
    prefix, colon, rest = name.partition(":")
    quantifier = None
    if colon:
        if prefix not in tuple(Quantifier):
            raise PolicyError("not a condition operator")
        quantifier, name = Quantifier(prefix), rest
    base = name.removesuffix(_IF_EXISTS)
    return quantifier, base, base != name


def _texts(given: Any) -> list[str]:
    """The values of a condition as text. Numbers and booleans are allowed unquoted."""
    values = given if isinstance(given, list) else [given]
    texts: list[str] = []
    for value in values:
        if isinstance(value, bool):
            texts.append("true" if value else "false")
        elif isinstance(value, str | int | float):
            texts.append(str(value))
        else:
            raise PolicyError("values are strings, numbers or booleans")
    return texts


# ---------------------------------------------------------------- operators


def _text(*, wildcards: bool = False, fold: bool = False, arn: bool = False) -> Callable[[str, bool], Test]:
    def prepare(value: str, variables: bool) -> Test:
        return Pattern(value, wildcards=wildcards, variables=variables, fold=fold, arn=arn).matches

    return prepare


def _comparing(read: Callable[[str], T], compare: Callable[[T, T], bool]) -> Callable[[str, bool], Test]:
    """Tests of values that are read first; a request's value that cannot be read fits nothing."""

    def prepare(value: str, _: bool) -> Test:
        wanted = read(value)

        def test(given: str, _: Context) -> bool:
            try:
                return compare(read(given), wanted)
            except PolicyError:
                return False

        return test

    return prepare


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise PolicyError("not a number") from None
    if not number.is_finite():
        raise PolicyError("not a number")
    return number


def _date(text: str) -> float:
    """Seconds since the epoch, from that number or from ISO 8601; without a zone it is UTC."""
    try:
        if re.fullmatch(r"[0-9]{1,12}", text):
            return float(text)
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise PolicyError("not a date") from None


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise PolicyError("must be true or false")
    return text.lower() == "true"


@lru_cache(maxsize=1024)
def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise PolicyError("not an IP address or a range of them") from None


def _within(given: Network, wanted: Network) -> bool:
    return given.version == wanted.version and given.subnet_of(wanted)  # type: ignore[arg-type]


def _equal(given: Any, wanted: Any) -> bool:
    return bool(given == wanted)


def _ordered(kind: str, read: Callable[[str], Any]) -> dict[str, Operator]:
    """The six comparisons of a kind of value."""
    return {
        f"{kind}Equals": Operator(_comparing(read, _equal)),
        f"{kind}NotEquals": Operator(_comparing(read, _equal), negated=True),
        f"{kind}LessThan": Operator(_comparing(read, operator.lt)),
        f"{kind}LessThanEquals": Operator(_comparing(read, operator.le)),
        f"{kind}GreaterThan": Operator(_comparing(read, operator.gt)),
        f"{kind}GreaterThanEquals": Operator(_comparing(read, operator.ge)),
    }


def _with_negation(positive: str, negative: str, prepare: Callable[[str, bool], Test]) -> dict[str, Operator]:
    return {positive: Operator(prepare), negative: Operator(prepare, negated=True)}


OPERATORS: dict[str, Operator] = {
    **_with_negation("StringEquals", "StringNotEquals", _text()),
    **_with_negation("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", _text(fold=True)),
    **_with_negation("StringLike", "StringNotLike", _text(wildcards=True)),
    **_with_negation("ArnEquals", "ArnNotEquals", _text(wildcards=True, arn=True)),
    **_with_negation("ArnLike", "ArnNotLike", _text(wildcards=True, arn=True)),
    **_ordered("Numeric", _number),
    **_ordered("Date", _date),
    "Bool": Operator(_comparing(_boolean, _equal)),
    **_with_negation("IpAddress", "NotIpAddress", _comparing(_network, _within)),
}
"""Every operator but Null, by name, without quantifier and IfExists."""
