"""Which encryption a new bucket or index gets, and the data key that goes with it.

AES256 is what the root has: encrypted under its keys, or not at all. An index with aws:kms has a data key of its
own, wrapped by the KMS key. Where there is no key provider, every KMS key is one that does not exist.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from quiver.model.errors import AccessDeniedError, ValidationError
from quiver.objectstore.encryption.provider import KmsError, KmsNotFoundError
from quiver.service.arn import BucketRef

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from quiver.model.runtime import Runtime
    from quiver.objectstore.encryption.index_keys import IndexKeys
    from quiver.service.arn import Home, IndexRef

_AES256 = "AES256"
_PATH = "EncryptionConfiguration"


class Encryption:
    """Encryption configurations, as GetVectorBucket and GetIndex show them.

    Args:
        keys: gives indexes data keys; None where no KMS key exists.
    """

    def __init__(self, keys: IndexKeys | None, home: Home, runtime: Runtime) -> None:
        self._keys = keys
        self._home = home
        self._runtime = runtime

    async def of_bucket(self, bucket: str, given: Mapping[str, Any] | None) -> dict[str, str]:
        """What a new bucket keeps, and its indexes get unless they say otherwise.

        Raises:
            ValidationError: a key and its type do not go together; no type means AES256.
            AccessDeniedError: a KMS key is named that cannot be used.
        """
        chosen = choose_encryption(given)
        if key := chosen.get("kmsKeyArn"):
            with self._refusing(key):
                await self._provider(key).generate(key, {"aws:s3vectors:arn": self._home.arn(BucketRef(bucket))})
        return chosen

    async def give(self, index_id: str, ref: IndexRef, chosen: Mapping[str, str]) -> None:
        """Make the data key of a new index, if it needs one, before its first object.

        Raises: AccessDeniedError, as above; StoreRefusedError, StoreUnavailableError.
        """
        if key := chosen.get("kmsKeyArn"):
            with self._refusing(key):
                await self._provider(key).give(index_id, key, self._home.arn(ref))

    def _provider(self, key: str) -> IndexKeys:
        if self._keys is None:
            raise KmsNotFoundError(key)
        return self._keys

    @contextmanager
    def _refusing(self, key: str) -> Iterator[None]:
        """AWS refuses to create with a key that it cannot use as it refuses one that is not there."""
        try:
            yield
        except KmsNotFoundError:
            raise AccessDeniedError(
                f"Key '{key}' does not exist (kms_request_id={self._runtime.new_id()})"
            ) from None
        except KmsError as error:
            raise AccessDeniedError(error.message) from error


def choose_encryption(given: Mapping[str, Any] | None) -> dict[str, str]:
    """The encryption configuration to keep, from the one in a validated request. Raises ValidationError."""
    kind, key = ((given or {}).get(name) for name in ("sseType", "kmsKeyArn"))
    if (kind or _AES256) == _AES256:
        if key is not None:
            raise ValidationError.at(_PATH, "kmsKeyArn must not be specified when sseType is AES256.")
        return {"sseType": _AES256}
    if key is None:
        raise ValidationError.at(_PATH, "kmsKeyArn must be specified when sseType is set to aws:kms")
    return {"sseType": kind, "kmsKeyArn": key}
