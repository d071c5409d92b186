"""The key provider over AWS KMS, or what speaks its protocol, by boto3. Master keys are named by their ARNs.

Credentials and endpoints are found as the AWS SDKs find them. The region is the one in the ARN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from quiver.model.errors import CorruptObjectError, StoreUnavailableError
from quiver.objectstore.encryption.layout import KEY_BYTES
from quiver.objectstore.encryption.provider import (
    GeneratedKey,
    KeyProvider,
    KmsAccessDeniedError,
    KmsDisabledError,
    KmsInvalidKeyUsageError,
    KmsInvalidStateError,
    KmsNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quiver.model.runtime import Runtime

_CONFIG = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 4, "mode": "standard"})
_ERRORS = {
    "AccessDeniedException": KmsAccessDeniedError,
    "DisabledException": KmsDisabledError,
    "InvalidArnException": KmsNotFoundError,
    "InvalidKeyUsageException": KmsInvalidKeyUsageError,
    "KMSInvalidStateException": KmsInvalidStateError,
    "NotFoundException": KmsNotFoundError,
}
_WRONG_BYTES = {"IncorrectKeyException", "InvalidCiphertextException"}


class AwsKmsProvider(KeyProvider):
    """Asks the service each time; what it answered is for the caller to keep. Raises ValueError without boto3's
    configuration being usable."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._clients: dict[str, Any] = {}
        try:
            self._session = boto3.session.Session()
        except BotoCoreError as error:
            raise ValueError(f"cannot use AWS KMS: {error}") from error

    async def generate(self, key: str, context: Mapping[str, str]) -> GeneratedKey:
        answer = await self._call(
            key, "generate_data_key", KeyId=key, EncryptionContext=dict(context), NumberOfBytes=KEY_BYTES
        )
        return GeneratedKey(answer["Plaintext"], answer["CiphertextBlob"])

    async def wrap(self, key: str, secret: bytes, context: Mapping[str, str]) -> bytes:
        answer = await self._call(key, "encrypt", KeyId=key, EncryptionContext=dict(context), Plaintext=secret)
        wrapped: bytes = answer["CiphertextBlob"]
        return wrapped

    async def unwrap(self, key: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        answer = await self._call(
            key, "decrypt", KeyId=key, EncryptionContext=dict(context), CiphertextBlob=wrapped
        )
        secret: bytes = answer["Plaintext"]
        if len(secret) != KEY_BYTES:
            raise CorruptObjectError(f"a data key wrapped by the key {key} has {len(secret)} bytes")
        return secret

    async def close(self) -> None:
        clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    async def _call(self, key: str, operation: str, **request: Any) -> Any:
        return await self._runtime.offload(self._ask, key, operation, request)

    def _ask(self, key: str, operation: str, request: dict[str, Any]) -> Any:
        """One request. In a worker thread."""
        try:
            return getattr(self._client(key), operation)(**request)
        except ClientError as error:
            code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
            if code in _WRONG_BYTES:
                raise CorruptObjectError(f"a data key is not as it was wrapped by the key {key}") from error
            kind = _ERRORS.get(code)
            raise (kind or StoreUnavailableError)(message if kind else f"AWS KMS answered {code}") from error
        except BotoCoreError as error:
            raise StoreUnavailableError(f"AWS KMS does not answer: {type(error).__name__}") from error

    def _client(self, key: str) -> Any:
        parts = key.split(":")  # arn:aws:kms:region:account:key/id
        region = parts[3] if len(parts) > 5 else ""
        client = self._clients.get(region)
        if client is None:
            client = self._clients[region] = self._session.client(
                "kms", region_name=region or None, config=_CONFIG
            )
        return client
