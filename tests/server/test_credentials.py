"""Credentials: checked once, never shown."""

from __future__ import annotations

import pytest

from quiver.server.credentials import OWNER, Credentials, Holder, weakness
from quiver.service.policy.principals import Principal, root_of


def test_secrets_are_found_by_key_id_and_not_shown():
    credentials = Credentials({"KEY-1.a_b": "hidden-value", "K2": "other-value"})
    assert credentials.secret("K2") == b"other-value"
    assert credentials.secret("k2") is None
    assert "hidden" not in f"{credentials} {credentials!r}"


def test_a_key_without_a_holder_is_the_owners():
    ann = Holder(Principal("arn:aws:iam::000000000000:user/ann", "000000000000", "ann"), "hidden-token")
    credentials = Credentials({"K1": "value", "K2": "value"}, {"K2": ann})
    assert (credentials.holder("K1"), credentials.holder("K2")) == (OWNER, ann)
    assert OWNER.principal == root_of("000000000000")
    assert "hidden" not in f"{ann} {ann!r}"
    with pytest.raises(ValueError, match="session token"):
        Credentials({"K1": "value"}, {"K1": Holder(ann.principal, "with space")})


@pytest.mark.parametrize(
    "secrets",
    [
        {},
        {"": "s"},
        {"a/b": "s"},
        {"a b": "s"},
        {"x" * 129: "s"},
        {"k": ""},
        {"k": "with space"},
        {"k": "é"},
        {"k": "a\n"},
    ],
)
def test_impossible_pairs_are_refused_without_quoting_them(secrets):
    with pytest.raises(ValueError) as caught:
        Credentials(secrets)
    assert not any(value in str(caught.value) for value in secrets.values() if len(value) > 1)


@pytest.mark.parametrize(
    ("key_id", "secret", "weak"),
    [
        ("admin", "admin", True),
        ("k", "short", True),
        ("k", "a" * 40, True),
        ("minioadmin", "minioadmin", True),
        ("same-same-same-same-0123", "same-same-same-same-0123", True),
        ("AKIDEXAMPLE", "abcdefghijklmnopqrstuvEXAMPLEKEY", True),
        ("QKABCDEF", "zX81kq0-RtuvW3_mnoPq72LsaD", False),
    ],
)
def test_weak_pairs(key_id, secret, weak):
    assert (weakness(key_id, secret) is not None) is weak
