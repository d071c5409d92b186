"""The key provider contract: somebody who keeps master keys, makes data keys and unwraps them again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from quiver.model.errors import DataError
from quiver.objectstore.store import StoreRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping


class KmsError(StoreRefusedError):
    """A master key cannot be used, so nothing under it can be read or written. A put was not applied.

    `code` and `status` are those of the S3 Vectors model.
    """

    code = "KmsInvalidStateException"
    status = 400


class KmsNotFoundError(KmsError):
    """There is no such key."""

    code = "KmsNotFoundException"


class KmsDisabledError(KmsError):
    """The key is not enabled."""

    code = "KmsDisabledException"


class KmsInvalidKeyUsageError(KmsError):
    """The key is not one for encryption."""

    code = "KmsInvalidKeyUsageException"


class KmsInvalidStateError(KmsError):
    """The key is pending deletion, or otherwise in no state to be used."""


class KmsAccessDeniedError(KmsError):
    """This process may not use the key."""

    code = "AccessDeniedException"
    status = 403


class MissingKeyError(DataError):
    """What is stored is encrypted under a key that this process was not given. The message names it."""


class GeneratedKey(NamedTuple):
    """A new data key, and the same wrapped by a master key: only who has that can unwrap it."""

    secret: bytes
    wrapped: bytes

    def __repr__(self) -> str:
        """Without the secret."""
        return f"GeneratedKey({len(self.wrapped)} bytes wrapped)"


class KeyProvider(ABC):
    """Master keys by name. `context` is bound to what is wrapped: unwrapping needs the same."""

    @abstractmethod
    async def generate(self, key: str, context: Mapping[str, str]) -> GeneratedKey:
        """A new data key of 32 bytes under a master key. Raises KmsError, StoreUnavailableError."""

    @abstractmethod
    async def wrap(self, key: str, secret: bytes, context: Mapping[str, str]) -> bytes:
        """A data key that exists, wrapped by another master key. Raises KmsError, StoreUnavailableError."""

    @abstractmethod
    async def unwrap(self, key: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """The data key. Raises KmsError, CorruptObjectError: not what `generate` made; StoreUnavailableError."""

    async def close(self) -> None:
        """Release connections."""
        return
