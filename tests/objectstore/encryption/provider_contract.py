"""What every key provider promises, as tests. The test class of one inherits them, and gives both fixtures."""

from __future__ import annotations

import pytest

from objectstore.contract import run
from quiver.model.errors import CorruptObjectError
from quiver.objectstore.encryption.provider import KeyProvider, KmsError, KmsNotFoundError

CONTEXT = {"aws:s3vectors:arn": "arn:aws:s3vectors:us-east-1:000000000000:bucket/b/index/i", "other": "é"}


class KeyProviderContract:
    """Inherited by the tests of each provider."""

    @pytest.fixture
    def provider(self) -> KeyProvider:
        raise NotImplementedError

    @pytest.fixture
    def key(self, provider: KeyProvider) -> str:
        """The ARN of a master key that can be used."""
        raise NotImplementedError

    def test_what_was_wrapped_is_unwrapped(self, provider: KeyProvider, key: str) -> None:
        made = run(provider.generate(key, CONTEXT))
        assert len(made.secret) == 32
        assert made.secret not in made.wrapped
        assert run(provider.unwrap(key, made.wrapped, CONTEXT)) == made.secret
        again = run(provider.wrap(key, made.secret, CONTEXT))
        assert again != made.wrapped
        assert run(provider.unwrap(key, again, dict(reversed(CONTEXT.items())))) == made.secret

    def test_every_data_key_is_another(self, provider: KeyProvider, key: str) -> None:
        assert len({run(provider.generate(key, {})).secret for _ in range(10)}) == 10

    def test_another_context_does_not_unwrap(self, provider: KeyProvider, key: str) -> None:
        made = run(provider.generate(key, CONTEXT))
        for context in ({}, CONTEXT | {"other": "e"}, CONTEXT | {"more": "1"}):
            with pytest.raises(CorruptObjectError):
                run(provider.unwrap(key, made.wrapped, context))

    def test_changed_bytes_do_not_unwrap(self, provider: KeyProvider, key: str) -> None:
        wrapped = run(provider.generate(key, CONTEXT)).wrapped
        for place in (0, 10, 30, len(wrapped) // 2, len(wrapped) - 1):
            changed = bytearray(wrapped)
            changed[place] ^= 1
            with pytest.raises((CorruptObjectError, KmsError)):
                run(provider.unwrap(key, bytes(changed), CONTEXT))
        with pytest.raises(CorruptObjectError):
            run(provider.unwrap(key, wrapped[: len(wrapped) // 2], CONTEXT))

    def test_a_key_that_is_not_there(self, provider: KeyProvider, key: str) -> None:
        other = key.rpartition("/")[0] + "/11111111-2222-3333-4444-555555555555"
        wrapped = run(provider.generate(key, CONTEXT)).wrapped
        for attempt in (
            provider.generate(other, CONTEXT),
            provider.wrap(other, bytes(32), CONTEXT),
        ):
            with pytest.raises(KmsNotFoundError, match="11111111-2222-3333-4444-555555555555"):
                run(attempt)
        with pytest.raises((KmsNotFoundError, CorruptObjectError)):
            run(provider.unwrap(other, wrapped, CONTEXT))

    def test_secrets_are_not_shown(self, provider: KeyProvider, key: str) -> None:
        made = run(provider.generate(key, CONTEXT))
        assert made.secret.hex() not in repr(made)
        assert str(made.secret) not in repr(made)
