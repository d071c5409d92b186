"""The file of principals: who may call, with which keys and policies. TOML, readable by its owner only.

    [policies]
    search = '''{"Version": "2012-10-17", "Statement": [...]}'''

    [[principals]]
    name = "operator"
    root = true
    keys = [{id = "...", secret = "..."}]

    [[principals]]
    name = "search-app"
    policies = ["search"]
    keys = [{id = "...", secret = "...", token = "..."}]

Nothing of it is ever quoted in an error but names.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, NamedTuple

from quiver.server.credentials import Credentials, Holder, refuse_unfit
from quiver.service.permissions import ACTIONS
from quiver.service.policy.document import Kind, check_names, read_policy
from quiver.service.policy.errors import PolicyError
from quiver.service.policy.principals import Principal, root_of
from quiver.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from quiver.service.policy.document import Policy

SUFFIX = ".toml"
_NAME = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)
_ACCOUNT = re.compile(r"[0-9]{12}")


class Key(NamedTuple):
    """An access key. Its text form shows neither secret nor token."""

    key_id: str
    secret: str
    holder: Holder

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Key({self.key_id!r}, {self.holder!r})"


class Principals(NamedTuple):
    """What a file holds: principals in its order, their keys, and the names of their policies."""

    principals: list[Principal]
    keys: list[Key]
    policies: dict[str, list[str]]

    def credentials(self) -> Credentials:
        """The keys as the server looks them up."""
        secrets = {key.key_id: key.secret for key in self.keys}
        return Credentials(secrets, {key.key_id: key.holder for key in self.keys})


def read_private(file: Path) -> str:
    """The text of a file that only its owner can read. Raises SettingsError."""
    try:
        if file.stat().st_mode & 0o077:
            raise SettingsError(f"the credentials file {file} is open to others: run chmod 600 {file}")
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"cannot read the credentials file {file}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SettingsError(f"the credentials file {file} is not UTF-8") from None


def read_principals(file: Path, account: str) -> Principals:
    """The principals in a file.

    Args:
        file: the file.
        account: of the deployment, and of every principal that names no other.

    Raises:
        SettingsError: it cannot be read, others can read it, or anything in it is not understood.
    """
    text = read_private(file)
    try:
        return _read(tomllib.loads(text), account)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at [^)]*\)", str(error))  # the rest might quote a secret
        raise SettingsError(f"the credentials file {file} is not TOML {place[0] if place else ''}") from None
    except (_FlawError, PolicyError, ValueError) as error:
        raise SettingsError(f"the credentials file {file}: {error}") from None


def read_fit(file: Path, account: str, host: str) -> Principals:
    """The same for a server that listens on `host`. Raises SettingsError, for keys too weak for that as well."""
    found = read_principals(file, account)
    for key in found.keys:
        refuse_unfit(key.key_id, key.secret, host)
    return found


class _FlawError(Exception):
    """What is wrong, without the file's name."""


def _read(document: dict[str, Any], account: str) -> Principals:
    _members(document, "the file", {"policies", "principals"})
    policies = dict(_policies(_table(document.get("policies", {}), "policies")))
    found = Principals([], [], {})
    for number, table in enumerate(_list(document.get("principals"), "principals")):
        _add_principal(found, _table(table, f"principals[{number}]"), number, policies, account)
    for kind, names in (
        ("principal", [principal.arn for principal in found.principals]),
        ("access key id", [key.key_id for key in found.keys]),
    ):
        if len(set(names)) < len(names):
            raise _FlawError(f"every {kind} may be there once only")
    found.credentials()
    return found


def _policies(table: dict[str, Any]) -> Iterator[tuple[str, Policy]]:
    for name, text in table.items():
        if not isinstance(text, str):
            raise _FlawError(f"policies.{name} must be a string with a JSON document")
        try:
            policy = read_policy(text, Kind.IDENTITY)
            check_names(policy, ACTIONS, Kind.IDENTITY)
        except PolicyError as error:
            raise _FlawError(f"policies.{name}: {error}") from None
        yield name, policy


def _add_principal(
    found: Principals, table: dict[str, Any], number: int, policies: dict[str, Policy], home: str
) -> None:
    place = f"principals[{number}]"
    _members(table, place, {"name", "root", "account", "policies", "keys"})
    name, account, root = table.get("name"), table.get("account", home), table.get("root", False)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _FlawError(f"{place}.name must be 1 to 64 letters, digits or characters of +=,.@_-")
    place = f"principal {name}"
    if not isinstance(account, str) or not _ACCOUNT.fullmatch(account):
        raise _FlawError(f"{place}: account must be 12 digits in quotes")
    chosen = _list(table.get("policies", []), f"{place}: policies")
    if not all(isinstance(policy, str) and policy in policies for policy in chosen):
        raise _FlawError(f"{place}: policies must be names of [policies]")
    if not isinstance(root, bool) or (root and (chosen or account != home)):
        raise _FlawError(f"{place}: root is true or false, and goes with neither policies nor another account")
    arn = f"arn:aws:iam::{account}:user/{name}"
    user = Principal(arn, account, name, policies=tuple(policies[policy] for policy in chosen))
    principal = root_of(home) if root else user
    found.principals.append(principal)
    found.policies[principal.arn] = chosen
    found.keys.extend(_keys(table.get("keys"), place, principal))


def _keys(given: Any, place: str, principal: Principal) -> Iterator[Key]:
    for table in _list(given, f"{place}: keys"):
        _members(_table(table, f"{place}: a key"), f"{place}: a key", {"id", "secret", "token"})
        values = [table.get("id"), table.get("secret"), table.get("token", "")]
        if not all(isinstance(value, str) for value in values) or table.get("token") == "":
            raise _FlawError(f"{place}: a key has an id, a secret and perhaps a token, each a string")
        yield Key(values[0], values[1], Holder(principal, values[2]))


def _list(given: Any, place: str) -> list[Any]:
    if not isinstance(given, list):
        raise _FlawError(f"{place} must be a list")
    return given


def _table(given: Any, place: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise _FlawError(f"{place} must be a table")
    return given


def _members(table: dict[str, Any], place: str, known: set[str]) -> None:
    if unknown := table.keys() - known:
        raise _FlawError(f"{place} has an unknown member {min(unknown)[:64]!r}")
