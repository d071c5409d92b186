"""A page token opens only where it was sealed, unaltered and in time."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiver.engine.engine import ListPosition
from quiver.model.errors import FieldError, ValidationError
from quiver.service import page_tokens
from quiver.service.page_tokens import HOLDER, QUERY_LIFETIME, PageTokens, Scope
from service.deployment import MovableClock

KEY = bytes(range(32))
SCOPE = Scope("ListVectors", "0" * 32, b"0 of 1")
RUNTIME = MovableClock(threads=1)
TOKENS = PageTokens(KEY, RUNTIME)
LONGEST_KEY = "\N{GRINNING FACE}" * 256


def assert_refused(
    token: str, scope: Scope = SCOPE, tokens: PageTokens = TOKENS, place: type = ListPosition
) -> None:
    with pytest.raises(ValidationError) as caught:
        tokens.open(scope, token, place)
    assert caught.value.message == "Invalid page token"
    assert caught.value.fields == (FieldError("nextToken", "Invalid page token"),)


@given(st.integers(0, 2**64 - 1), st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_a_place_comes_back_as_it_was_sealed(key_hash: int, key: str) -> None:
    place = ListPosition(key_hash, key)
    assert TOKENS.open(SCOPE, TOKENS.seal(SCOPE, place), ListPosition) == place


@given(st.floats(width=32, allow_nan=False))
def test_a_distance_comes_back_with_the_same_bits(distance: float) -> None:
    found = TOKENS.open(SCOPE, TOKENS.seal(SCOPE, (distance,)), tuple[float])
    assert found[0].hex() == distance.hex()


def test_a_token_is_its_holders_only() -> None:
    place, sealed = ListPosition(7, "k"), {}
    for holder in ("", "arn:aws:iam::000000000000:user/ann", "arn:aws:iam::000000000000:user/bob"):
        reset = HOLDER.set(holder)
        sealed[holder] = TOKENS.seal(SCOPE, place)
        for issued_to, token in sealed.items():
            if issued_to == holder:
                assert TOKENS.open(SCOPE, token, ListPosition) == place
            else:
                assert_refused(token)
        HOLDER.reset(reset)
    assert TOKENS.open(SCOPE, sealed[""], ListPosition) == place


def test_tokens_keep_to_the_lengths_of_the_contract() -> None:
    assert len(TOKENS.seal(SCOPE, ListPosition(2**64 - 1, LONGEST_KEY))) <= 2048
    assert len(TOKENS.seal(SCOPE, (1.5, LONGEST_KEY, 9_900))) <= 4096
    assert len(TOKENS.seal(SCOPE, "x" * 63)) <= 512


@given(st.data())
def test_any_altered_bit_is_refused(data: st.DataObject) -> None:
    token = TOKENS.seal(SCOPE, ListPosition(1, "key"))
    sealed = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    position = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[position // 8] ^= 1 << position % 8
    assert_refused(base64.urlsafe_b64encode(sealed).rstrip(b"=").decode())


@given(st.data())
def test_any_altered_character_is_refused(data: st.DataObject) -> None:
    token = TOKENS.seal(SCOPE, ListPosition(1, "key1"))
    position = data.draw(st.integers(0, len(token)))
    middle = data.draw(st.text(max_size=2))
    end = data.draw(st.integers(position, len(token)))
    altered = token[:position] + middle + token[end:]
    if altered != token:
        assert_refused(altered)


def test_another_spelling_of_the_same_bytes_is_refused() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    lengths = set()
    for key in ("k", "kk", "kkk"):
        token = TOKENS.seal(SCOPE, ListPosition(1, key))
        lengths.add(len(token) % 4)
        spellings = {token[:-1] + last for last in alphabet} | {token + end for end in ("=", "==", "\n", " ")}
        for spelling in spellings - {token}:
            assert_refused(spelling)
    assert lengths == {0, 2, 3}  # with 0, 4 and 2 unused bits in the last character


@pytest.mark.parametrize("token", ["", "A", "====", "not a token", "\u00e9", "AAAA" * 100, "\ud800"])
def test_nonsense_is_refused(token: str) -> None:
    assert_refused(token)


@pytest.mark.parametrize(
    "scope",
    [
        SCOPE._replace(operation="QueryVectors"),
        SCOPE._replace(resource="1" * 32),
        SCOPE._replace(parameters=b"0 of 2"),
        Scope("ListVector", "s" + "0" * 32, SCOPE.parameters),
    ],
)
def test_another_scope_is_refused(scope: Scope) -> None:
    assert_refused(TOKENS.seal(SCOPE, ListPosition(1, "k")), scope)


def test_another_deployment_is_refused() -> None:
    assert_refused(PageTokens(bytes(32), RUNTIME).seal(SCOPE, ListPosition(1, "k")))


def test_another_type_of_place_is_refused() -> None:
    assert_refused(TOKENS.seal(SCOPE, "name"))


def test_a_token_expires_only_where_a_lifetime_is_asked_for() -> None:
    runtime = MovableClock(threads=1)
    tokens = PageTokens(KEY, runtime)
    token = tokens.seal(SCOPE, "name")
    runtime.offset = QUERY_LIFETIME - 2
    assert tokens.open(SCOPE, token, str, QUERY_LIFETIME) == "name"
    runtime.offset = QUERY_LIFETIME + 2
    assert tokens.open(SCOPE, token, str) == "name"
    with pytest.raises(ValidationError, match="Invalid page token"):
        tokens.open(SCOPE, token, str, QUERY_LIFETIME)


def test_a_clock_that_is_behind_the_issuer_does_not_matter() -> None:
    runtime = MovableClock(threads=1)
    tokens = PageTokens(KEY, runtime)
    token = tokens.seal(SCOPE, "name")
    runtime.offset = -3600
    assert tokens.open(SCOPE, token, str, QUERY_LIFETIME) == "name"


def test_sealed_content_of_another_shape_is_refused() -> None:
    not_text = b"\x93\x01\x00\xa2\xe3\x80"  # [1, 0, a string of two bytes that are not UTF-8]
    for content in (not_text, b"\x93\x01\x00\x01", b"\x92\x01\x00", b"", b"\x91" * 5000):
        token = page_tokens._to_text(TOKENS._seal_of(SCOPE, content) + content)
        assert_refused(token, place=str)
