"""Page tokens: a place in a listing or ranking, sealed so that only this deployment can have made it.

    base64url, unpadded, of: HMAC-SHA256 truncated to 16 bytes | msgpack [version, issued, place]

The seal also covers what the token does not carry: the operation, the resource and the parameters that have to
stay the same from page to page, and to whom it was issued. So a token opens only where it was issued. The longest
one holds a vector key of 1,024 bytes and has about 1,440 characters.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from quiver.model.errors import ValidationError

if TYPE_CHECKING:
    from quiver.model.runtime import Runtime

T = TypeVar("T")

INVALID = "Invalid page token"
QUERY_LIFETIME = 15 * 60
"""Seconds a query token is good for. Tokens of listings do not expire: a place in an order of names or hashes
keeps its meaning however long the listing takes."""

HOLDER: ContextVar[str] = ContextVar("page token holder", default="")
"""The ARN of the principal whose tokens are made and opened; empty for the owner of the deployment."""

_VERSION = 1
_SEAL_BYTES = 16


class Scope(NamedTuple):
    """Where a token is good: operation, resource (an index id, or names), and a digest of the fixed parameters."""

    operation: str
    resource: str
    parameters: bytes = b""


def digest(fixed: Any, more: bytes = b"") -> bytes:
    """Of the parameters that have to stay the same, as JSON can carry them, and of bytes beside."""
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode() + more).digest()


class _Content(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    version: int
    issued: int
    place: msgspec.Raw


class PageTokens:
    """Makes and opens tokens under one key."""

    def __init__(self, key: bytes, runtime: Runtime) -> None:
        self._key = key
        self._runtime = runtime

    def seal(self, scope: Scope, place: Any) -> str:
        """A token for `place`, a value of a type msgpack can carry."""
        content = msgspec.msgpack.encode((_VERSION, int(self._runtime.time()), place))
        return _to_text(self._seal_of(scope, content) + content)

    def open(self, scope: Scope, token: str, place: type[T], lifetime: float | None = None) -> T:
        """The place in a token, of the type it was sealed with.

        Args:
            scope: what the token has to have been sealed for.
            token: as received.
            place: type of the place.
            lifetime: seconds after which a token has expired; None for never.

        Raises: ValidationError: altered, of another scope or deployment, or expired.
        """
        sealed = _from_text(token)
        seal, content = sealed[:_SEAL_BYTES], sealed[_SEAL_BYTES:]
        if not hmac.compare_digest(seal, self._seal_of(scope, content)):
            raise _refusal()
        try:
            found = msgspec.msgpack.decode(content, type=_Content)
            expired = lifetime is not None and self._runtime.time() - found.issued > lifetime
            if found.version == _VERSION and not expired:
                return msgspec.msgpack.decode(found.place, type=place)
        except (ValueError, RecursionError):  # a string that is not UTF-8 is no error of msgspec's own
            pass
        raise _refusal()

    def _seal_of(self, scope: Scope, content: bytes) -> bytes:
        holder = HOLDER.get()
        sealed = msgspec.msgpack.encode((*scope, content, holder) if holder else (*scope, content))
        return hmac.digest(self._key, sealed, hashlib.sha256)[:_SEAL_BYTES]


def _refusal() -> ValidationError:
    return ValidationError.at("nextToken", INVALID)


def _to_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _from_text(token: str) -> bytes:
    """The bytes of a token, refusing every spelling but the one `_to_text` makes."""
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _refusal() from None
    if _to_text(data) != token:
        raise _refusal()
    return data
