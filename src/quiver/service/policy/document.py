"""Policy documents: JSON to statements. What is not understood is refused, never passed over."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from quiver.model.errors import SerializationError
from quiver.model.strict_json import parse_strict
from quiver.service.policy.conditions import Condition, read_conditions
from quiver.service.policy.errors import PolicyError
from quiver.service.policy.patterns import Pattern
from quiver.service.policy.principals import read_principals

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from quiver.service.policy.patterns import Context
    from quiver.service.policy.principals import PrincipalSet

MAX_POLICY_BYTES = 20_480
"""The limit of S3 bucket policies; none is documented for vector buckets, and the catalog needs one."""

_VERSIONS = ("2008-10-17", "2012-10-17")
_WITH_VARIABLES = "2012-10-17"
_ACTION = re.compile(r"\*|[A-Za-z0-9-]+:[A-Za-z0-9*?]+")
_ARN_PARTS = 6
_OWN_PREFIXES = ("s3vectors:", "quiver:")
_OWN_KEYS = ("s3vectors:ssetype", "s3vectors:kmskeyarn")
_OWN_TAG_KEY = "s3vectors:vectorbuckettag/"


class Kind(Enum):
    """Where a policy is attached: to whom may do something, or to what it is done to."""

    IDENTITY = "identity"
    BUCKET = "bucket"


class Element(NamedTuple):
    """An Action or Resource element, or its negation."""

    patterns: tuple[Pattern, ...]
    negated: bool

    def covers(self, value: str, context: Context) -> bool:
        """Whether the statement is about this action or resource."""
        return any(pattern.matches(value, context) for pattern in self.patterns) != self.negated

    @property
    def varies(self) -> bool:
        """Whether any pattern has variables."""
        return any(pattern.varies for pattern in self.patterns)

    def is_filled(self, context: Context) -> bool:
        """Whether `context` has a value for every variable."""
        return all(pattern.is_filled(context) for pattern in self.patterns)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. `principals` is None in identity policies; `excepted`: they come from NotPrincipal."""

    denies: bool
    actions: Element
    resources: Element
    conditions: tuple[Condition, ...] = ()
    principals: PrincipalSet | None = None
    excepted: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy. `actions` and `keys` are what it names, spelled as it does, for `check_names`."""

    statements: tuple[Statement, ...]
    actions: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    relevant: dict[tuple[str, str], Any] = field(default_factory=dict, compare=False, repr=False)
    """What `evaluation` remembers."""


def read_policy(text: str, kind: Kind) -> Policy:
    """The policy in a JSON document. Raises PolicyError."""
    document = _read_json(text)
    _members(document, "Policy", {"Version", "Id", "Statement"})
    version = document.get("Version", _VERSIONS[0])
    if version not in _VERSIONS:
        raise PolicyError(f"Version must be {' or '.join(_VERSIONS)}")
    if "Id" in document and not isinstance(document["Id"], str):
        raise PolicyError("Id must be a string")
    if "Statement" not in document:
        raise PolicyError("Missing required field Statement")
    given = document["Statement"]
    blocks = given if isinstance(given, list) else [given]
    _distinct_sids(blocks)
    variables = version == _WITH_VARIABLES
    places = [f"Statement[{number}]" for number in range(len(blocks))]
    statements = [_read_statement(b, p, kind, variables) for b, p in zip(blocks, places, strict=True)]
    return Policy(tuple(statements), tuple(_named_actions(blocks)), tuple(_named_keys(blocks)))


def check_names(policy: Policy, known: Collection[str], kind: Kind) -> None:
    """Refuse what could only be a mistake: actions and condition keys that Quiver would have, and has not.

    A bucket policy may name no others at all. One that is stored already is read without this, for a newer Quiver
    may know more of them.

    Args:
        policy: as read.
        known: every action there is, such as "s3vectors:GetIndex".
        kind: what the policy is attached to.

    Raises:
        PolicyError: for the first such name.
    """
    for name in policy.actions:
        own = name.lower().startswith(_OWN_PREFIXES)
        pattern = Pattern(name, fold=True)
        unknown = name != "*" and not any(pattern.matches(action, {}) for action in known)
        if unknown and (own or kind is Kind.BUCKET):
            raise PolicyError(f"Action {name!r} is no action of this service")
    for key in policy.keys:
        lower = key.lower()
        own = lower.startswith(_OWN_PREFIXES)
        sound = lower in _OWN_KEYS or lower.startswith(_OWN_TAG_KEY) if own else lower.startswith("aws:")
        if not sound and (own or kind is Kind.BUCKET):
            raise PolicyError(f"Condition key {key!r} is not known to this service")


def _read_json(text: str) -> dict[str, Any]:
    if len(text.encode("utf-8", "replace")) > MAX_POLICY_BYTES:
        raise PolicyError(f"Policy exceeds the maximum size of {MAX_POLICY_BYTES} bytes")
    try:
        document = parse_strict(text.encode())
    except (SerializationError, UnicodeEncodeError):
        document = None
    if not isinstance(document, dict):
        raise PolicyError("Policy must be a JSON object")
    return document


def _read_statement(block: Any, place: str, kind: Kind, variables: bool) -> Statement:
    known = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"}
    _members(block, place, known | ({"Principal", "NotPrincipal"} if kind is Kind.BUCKET else set()))
    if block.get("Effect") not in ("Allow", "Deny"):
        raise PolicyError(f"{place}.Effect must be Allow or Deny")
    denies = block["Effect"] == "Deny"
    principals, excepted = None, False
    if kind is Kind.BUCKET:
        name = _either(block, place, "Principal", "NotPrincipal")
        principals, excepted = read_principals(block[name], f"{place}.{name}"), name == "NotPrincipal"
        if excepted and not denies:
            raise PolicyError(f"{place}: NotPrincipal goes with the effect Deny only")
    return Statement(
        denies,
        _read_element(block, place, "Action", variables=False),
        _read_element(block, place, "Resource", variables=variables),
        read_conditions(block.get("Condition", {}), f"{place}.Condition", variables=variables),
        principals,
        excepted,
    )


def _read_element(block: dict[str, Any], place: str, name: str, *, variables: bool) -> Element:
    chosen = _either(block, place, name, f"Not{name}")
    place = f"{place}.{chosen}"
    patterns: list[Pattern] = []
    for text in _strings(block[chosen], place):
        if name == "Action":
            if not _ACTION.fullmatch(text):
                raise PolicyError(f"{place}: {text[:128]!r} is not an action")
            patterns.append(Pattern(text, fold=True))
            continue
        if text != "*" and (not text.startswith("arn:") or text.count(":") < _ARN_PARTS - 1):
            raise PolicyError(f"{place}: {text[:128]!r} is neither * nor an ARN of six parts")
        try:
            patterns.append(Pattern(text, variables=variables, arn=text != "*"))
        except PolicyError as error:
            raise PolicyError(f"{place}: {error}") from None
    return Element(tuple(patterns), negated=chosen != name)


def _either(block: dict[str, Any], place: str, one: str, other: str) -> str:
    if (one in block) == (other in block):
        raise PolicyError(f"{place} must have either {one} or {other}")
    return one if one in block else other


def _members(block: Any, place: str, known: set[str]) -> None:
    if not isinstance(block, dict):
        raise PolicyError(f"{place} must be an object")
    if unknown := block.keys() - known:
        raise PolicyError(f"{place} has an unknown member {min(unknown)[:128]!r}")


def _strings(given: Any, place: str) -> list[str]:
    values = given if isinstance(given, list) else [given]
    if not values or not all(isinstance(value, str) for value in values):
        raise PolicyError(f"{place} must be a string or a list of strings")
    return values


def _distinct_sids(blocks: list[Any]) -> None:
    sids = [block["Sid"] for block in blocks if isinstance(block, dict) and "Sid" in block]
    if not all(isinstance(sid, str) for sid in sids):
        raise PolicyError("Sid must be a string")
    if len(set(sids)) != len(sids):
        raise PolicyError("Sid must be different in each statement")


def _named_actions(blocks: list[dict[str, Any]]) -> Iterator[str]:
    for block in blocks:
        yield from _strings(block.get("Action", block.get("NotAction")), "Action")


def _named_keys(blocks: list[dict[str, Any]]) -> Iterator[str]:
    for block in blocks:
        for keys in block.get("Condition", {}).values():
            yield from keys
