"""Credentials: the access keys this server knows, in memory, never shown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Protocol

from quiver.service.policy.principals import Principal, root_of
from quiver.settings import SettingsError, is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
MIN_SECRET = 16
PUBLISHED = ("EXAMPLE", "minioadmin", "localstack")


class Holder(NamedTuple):
    """Whose an access key is. With a token, every request has to carry it in x-amz-security-token."""

    principal: Principal
    token: str = ""

    def __repr__(self) -> str:
        """Without the token."""
        return f"Holder({self.principal.arn!r})"


OWNER = Holder(root_of("000000000000"))


class Credentials:
    """Access key ids, their secrets and their holders. Its text form shows no secret.

    Args:
        secrets: by access key id.
        holders: by access key id; who is missing there is the owner of the deployment.

    Raises:
        ValueError: no key at all, or a key id, secret or token of impossible form.
    """

    def __init__(self, secrets: Mapping[str, str], holders: Mapping[str, Holder] | None = None) -> None:
        if not secrets:
            raise ValueError("no credentials: every request would be refused")
        for key_id, secret in secrets.items():
            if not KEY_ID.fullmatch(key_id):
                raise ValueError("an access key id has 1 to 128 letters, digits, ., _ or -")
            if not secret or not _is_plain(secret):
                raise ValueError("a secret access key is printable ASCII without spaces")
        self._holders = dict(holders or {})
        if not all(_is_plain(holder.token) for holder in self._holders.values()):
            raise ValueError("a session token is printable ASCII without spaces")
        self._secrets = {key_id: secret.encode() for key_id, secret in secrets.items()}

    def current(self) -> Credentials:
        """These, at all times."""
        return self

    def secret(self, key_id: str) -> bytes | None:
        """The secret of a key id, or None."""
        return self._secrets.get(key_id)

    def holder(self, key_id: str) -> Holder:
        """Whose a key is that has a secret."""
        return self._holders.get(key_id, OWNER)

    def __len__(self) -> int:
        """How many keys there are."""
        return len(self._secrets)

    def __repr__(self) -> str:
        return f"Credentials({len(self)} keys)"


class CredentialSource(Protocol):
    """Credentials that may be others from one request to the next."""

    def current(self) -> Credentials:
        """What counts now; the same object until something has changed."""
        ...


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def refuse_unfit(key_id: str, secret: str, host: str) -> None:
    """Raises: SettingsError: the pair is not fit for the address to listen on."""
    problem = weakness(key_id, secret)
    if problem and not is_loopback(host):
        raise SettingsError(f"{problem}; Quiver accepts that on a loopback address only")


def weakness(key_id: str, secret: str) -> str | None:
    """Why a pair should not guard a server that others can reach; None when nothing is wrong with it."""
    if len(secret) < MIN_SECRET:
        return f"the secret access key is shorter than {MIN_SECRET} characters"
    if secret == key_id or len(set(secret)) < MIN_SECRET // 2:
        return "the secret access key is easy to guess"
    if any(word in secret for word in PUBLISHED):
        return "the secret access key is a published example"
    return None
