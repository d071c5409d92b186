"""Principals: who asks, and whom a policy names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from quiver.service.policy.errors import PolicyError

if TYPE_CHECKING:
    from quiver.service.policy.document import Policy

_ACCOUNT = re.compile(r"[0-9]{12}")
_ARN = re.compile(
    r"arn:aws[-a-z0-9]*:(?:iam|sts)::(?P<account>[0-9]{12}):"
    r"(?:(?P<root>root)|(?:user|role|assumed-role|federated-user)/[\w+=,.@/-]{1,512})"
)
_OTHERS = frozenset(("Service", "Federated", "CanonicalUser"))
"""Kinds of principals that never ask here; policies may name them, and nobody is meant."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who may ask.

    Attributes:
        arn: such as arn:aws:iam::000000000000:user/search.
        account: 12 digits.
        name: the user name; empty for the root of an account.
        root: whether everything is this principal's: the owner of the deployment.
        policies: identity policies, all of which count.
    """

    arn: str
    account: str
    name: str
    root: bool = False
    policies: tuple[Policy, ...] = ()


def root_of(account: str, partition: str = "aws") -> Principal:
    """The owner of an account's resources."""
    return Principal(f"arn:{partition}:iam::{account}:root", account, "", root=True)


class Named(IntEnum):
    """How a policy names a principal."""

    NOT_AT_ALL = 0
    BY_ACCOUNT = 1
    """Through its account, whose own policies then have to allow it as well."""
    ITSELF = 2


class PrincipalSet(NamedTuple):
    """The principals of a `Principal` or `NotPrincipal` element."""

    everybody: bool
    accounts: frozenset[str]
    arns: frozenset[str]

    def names(self, principal: Principal) -> Named:
        """How it names a principal."""
        if self.everybody or principal.arn in self.arns:
            return Named.ITSELF
        if principal.account in self.accounts:
            return Named.ITSELF if principal.root else Named.BY_ACCOUNT
        return Named.NOT_AT_ALL


def read_principals(given: Any, place: str) -> PrincipalSet:
    """The principals an element names: "*", or an object of kinds. Raises PolicyError."""
    if given == "*":
        return PrincipalSet(True, frozenset(), frozenset())
    if not isinstance(given, dict) or not given or not given.keys() <= _OTHERS | {"AWS"}:
        raise PolicyError(f'{place} must be "*" or an object with AWS, Service, Federated or CanonicalUser')
    names = [name for listed in given.values() for name in (listed if isinstance(listed, list) else [listed])]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise PolicyError(f"{place} must name principals by strings")
    listed = given.get("AWS", ())
    return _read_aws([listed] if isinstance(listed, str) else listed, place)


def _read_aws(names: list[str], place: str) -> PrincipalSet:
    accounts, arns = set(), set()
    for name in names:
        match = _ARN.fullmatch(name)
        if _ACCOUNT.fullmatch(name):
            accounts.add(name)
        elif match and match["root"]:
            accounts.add(match["account"])
        elif match:
            arns.add(name)
        elif name != "*":
            raise PolicyError(f"{place}: {name[:128]!r} is neither *, an account, nor the ARN of a user or role")
    return PrincipalSet("*" in names, frozenset(accounts), frozenset(arns))
