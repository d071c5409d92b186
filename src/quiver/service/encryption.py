"""Which encryption a new bucket or index gets.

Quiver has no key management service, so every KMS key is one that does not exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quiver.model.errors import AccessDeniedError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quiver.model.runtime import Runtime

_AES256 = "AES256"
_PATH = "EncryptionConfiguration"


def choose_encryption(given: Mapping[str, Any] | None, runtime: Runtime) -> dict[str, str]:
    """The encryption configuration to keep, from the one in a validated request.

    Raises:
        ValidationError: a key and its type do not go together; no type means AES256.
        AccessDeniedError: a KMS key is named.
    """
    kind, key = ((given or {}).get(name) for name in ("sseType", "kmsKeyArn"))
    if (kind or _AES256) == _AES256:
        if key is not None:
            raise ValidationError.at(_PATH, "kmsKeyArn must not be specified when sseType is AES256.")
        return {"sseType": _AES256}
    if key is None:
        raise ValidationError.at(_PATH, "kmsKeyArn must be specified when sseType is set to aws:kms")
    raise AccessDeniedError(f"Key '{key}' does not exist (kms_request_id={runtime.new_id()})")
