"""Tests of the key provider over AWS KMS, against moto's: the contract, and what keys in other states answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError
from moto import mock_aws

from objectstore.contract import run
from objectstore.encryption.provider_contract import CONTEXT, KeyProviderContract
from objectstore.encryption.sealing import INDEX, encrypting, new_keys
from quiver.model.errors import StoreUnavailableError
from quiver.objectstore.encryption.aws_kms import AwsKmsProvider
from quiver.objectstore.encryption.index_keys import TRUSTED_SECONDS
from quiver.objectstore.encryption.provider import (
    KmsAccessDeniedError,
    KmsDisabledError,
    KmsError,
    KmsInvalidKeyUsageError,
    KmsInvalidStateError,
    KmsNotFoundError,
)
from quiver.objectstore.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quiver.model.runtime import SystemRuntime

NAME = f"index/{INDEX}/log/0000000000000001"


@pytest.fixture(scope="module", autouse=True)
def kms() -> Iterator[Any]:
    with mock_aws():  # which sets credentials, too
        yield boto3.client("kms", region_name="eu-central-1")


@pytest.fixture
def provider(runtime: SystemRuntime) -> AwsKmsProvider:
    return AwsKmsProvider(runtime)


@pytest.fixture
def key(kms: Any) -> str:
    return kms.create_key()["KeyMetadata"]["Arn"]


class TestAwsKms(KeyProviderContract):
    @pytest.fixture
    def provider(self, runtime: SystemRuntime) -> AwsKmsProvider:
        return AwsKmsProvider(runtime)

    @pytest.fixture
    def key(self, kms: Any) -> str:
        return kms.create_key()["KeyMetadata"]["Arn"]


def answering(provider: AwsKmsProvider, error: Exception) -> AwsKmsProvider:
    class Client:
        def decrypt(self, **_: Any) -> Any:
            raise error

    provider._client = lambda _: Client()  # type: ignore[method-assign]
    return provider


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AccessDeniedException", KmsAccessDeniedError),
        ("DisabledException", KmsDisabledError),
        ("InvalidKeyUsageException", KmsInvalidKeyUsageError),
        ("KMSInvalidStateException", KmsInvalidStateError),
        ("NotFoundException", KmsNotFoundError),
        ("ThrottlingException", StoreUnavailableError),
        ("KMSInternalException", StoreUnavailableError),
    ],
)
def test_what_the_service_refuses_becomes_an_error_of_the_model(
    provider: AwsKmsProvider, key: str, code: str, kind: type[Exception]
) -> None:
    answering(provider, ClientError({"Error": {"Code": code, "Message": "because"}}, "Decrypt"))
    with pytest.raises(kind) as caught:
        run(provider.unwrap(key, b"x", CONTEXT))
    if issubclass(kind, KmsError):
        assert caught.value.message == "because"
        assert (kind.code, kind.status) in {
            ("AccessDeniedException", 403),
            ("KmsDisabledException", 400),
            ("KmsInvalidKeyUsageException", 400),
            ("KmsInvalidStateException", 400),
            ("KmsNotFoundException", 400),
        }


def test_a_service_that_does_not_answer_is_unavailable(provider: AwsKmsProvider, key: str) -> None:
    answering(provider, ConnectTimeoutError(endpoint_url="https://kms"))
    with pytest.raises(StoreUnavailableError):
        run(provider.unwrap(key, b"x", CONTEXT))


def test_the_region_is_that_of_the_arn(provider: AwsKmsProvider) -> None:
    other = boto3.client("kms", region_name="us-west-2").create_key()["KeyMetadata"]["Arn"]
    assert ":us-west-2:" in other
    made = run(provider.generate(other, {}))
    assert run(provider.unwrap(other, made.wrapped, {})) == made.secret


def test_a_disabled_key_stops_an_index_when_it_is_asked_again(
    provider: AwsKmsProvider, key: str, runtime: SystemRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner, keys = MemoryStore(runtime), new_keys(runtime)
    store, enabled = encrypting(inner, keys, runtime, provider), provider._client
    run(store.index_keys.give(INDEX, key, "arn:index"))
    run(store.put_new(NAME, [b"text"]))
    run(store.put_new("x/a", [b"text"]))
    answering(
        provider, ClientError({"Error": {"Code": "DisabledException", "Message": "off"}}, "Decrypt")
    )  # moto's go on
    assert bytes(run(store.get(NAME))) == b"text"
    now = runtime.monotonic() + TRUSTED_SECONDS
    monkeypatch.setattr(runtime, "monotonic", lambda: now)
    for later in (store, encrypting(inner, keys, runtime, provider)):
        with pytest.raises(KmsDisabledError):
            run(later.get(NAME))
        with pytest.raises(KmsDisabledError):
            run(later.put_new(NAME[:-1] + "2", [b"more"]))
        assert bytes(run(later.get("x/a"))) == b"text"
    assert [info.key for info in run(inner.list("index/"))] == [f"index/{INDEX}/key", NAME]
    provider._client = enabled  # type: ignore[method-assign]
    assert bytes(run(store.get(NAME))) == b"text"
