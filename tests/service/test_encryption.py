"""KMS keys that exist and cannot be used, when buckets and indexes are created with them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from objectstore.encryption.sealing import encrypting, new_keys
from quiver.model.errors import AccessDeniedError, StoreUnavailableError
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.encryption.file_provider import FileKeyProvider
from quiver.objectstore.encryption.provider import (
    KmsAccessDeniedError,
    KmsDisabledError,
    KmsInvalidKeyUsageError,
    KmsInvalidStateError,
)
from quiver.objectstore.memory import MemoryStore
from quiver.service.arn import IndexRef
from quiver.service.encryption import Encryption
from service.deployment import HOME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quiver.objectstore.encryption.provider import GeneratedKey

KEY = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
KMS = {"sseType": "aws:kms", "kmsKeyArn": KEY}


class Refusing(FileKeyProvider):
    """A provider that answers every request for a data key in one way."""

    error: Exception

    async def generate(self, key: str, context: Mapping[str, str]) -> GeneratedKey:
        raise self.error


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (KmsDisabledError("it is disabled"), AccessDeniedError, "it is disabled"),
        (KmsInvalidStateError("pending deletion"), AccessDeniedError, "pending deletion"),
        (KmsInvalidKeyUsageError("for signatures"), AccessDeniedError, "for signatures"),
        (KmsAccessDeniedError("not yours"), AccessDeniedError, "not yours"),
        (StoreUnavailableError("no answer"), StoreUnavailableError, "no answer"),
    ],
    ids=["disabled", "state", "usage", "denied", "no answer"],
)
def test_nothing_is_created_with_a_key_that_cannot_be_used(
    error: Exception, expected: type[Exception], message: str
) -> None:
    runtime = SystemRuntime(threads=1)
    inner, keys = MemoryStore(runtime), new_keys(runtime)
    provider = Refusing(keys, runtime)
    provider.error = error
    encryption = Encryption(encrypting(inner, keys, runtime, provider).index_keys, HOME, runtime)

    async def run() -> None:
        with pytest.raises(expected, match=message) as of_bucket:
            await encryption.of_bucket("bucket", KMS)
        with pytest.raises(expected, match=message) as of_index:
            await encryption.give("0" * 32, IndexRef("bucket", "index"), KMS)
        assert type(of_bucket.value) is type(of_index.value) is expected
        assert await inner.list("index/") == []

    asyncio.run(run())
    runtime.close()
