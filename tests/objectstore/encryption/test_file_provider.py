"""Tests of the key provider over a key file: the contract, and which names it knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from objectstore.contract import run
from objectstore.encryption.provider_contract import KeyProviderContract
from objectstore.encryption.sealing import new_keys
from quiver.model.errors import CorruptObjectError
from quiver.objectstore.encryption.file_provider import FileKeyProvider

if TYPE_CHECKING:
    from quiver.model.runtime import SystemRuntime
    from quiver.objectstore.encryption.key_file import KeyFile


@pytest.fixture
def keys(runtime: SystemRuntime) -> KeyFile:
    return new_keys(runtime, 2)


class TestFileKeyProvider(KeyProviderContract):
    @pytest.fixture
    def provider(self, keys: KeyFile, runtime: SystemRuntime) -> FileKeyProvider:
        return FileKeyProvider(keys, runtime)

    @pytest.fixture
    def key(self, keys: KeyFile) -> str:
        return f"arn:aws:kms:us-east-1:000000000000:key/{keys.current}"

    def test_an_id_and_any_arn_of_it_are_one_key(self, provider: FileKeyProvider, key: str, keys: KeyFile) -> None:
        made = run(provider.generate(key, {}))
        for name in (keys.current, f"arn:aws-cn:kms:cn-north-1:123456789012:key/{keys.current}"):
            assert run(provider.unwrap(name, made.wrapped, {})) == made.secret

    def test_another_key_of_the_file_does_not_unwrap(self, provider: FileKeyProvider, keys: KeyFile) -> None:
        first, second = keys.keys
        wrapped = run(provider.generate(first, {})).wrapped
        with pytest.raises(CorruptObjectError, match=second):
            run(provider.unwrap(second, wrapped, {}))
