"""Tests of the layout of encrypted objects: sizes, headers, and keys derived as the standard says."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from objectstore.contract import run
from objectstore.encryption.sealing import encrypting, new_keys
from quiver.model.errors import UnsupportedFormatError
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.encryption.layout import (
    CHUNK,
    DataKey,
    Header,
    derive,
    is_encrypted,
    opened_size,
    read_header,
    sealed_size,
)
from quiver.objectstore.memory import MemoryStore


@given(st.integers(0, 50 * CHUNK) | st.integers(0, 1 << 45))
def test_the_length_of_an_object_follows_from_what_is_stored(nbytes: int) -> None:
    assert opened_size(sealed_size(nbytes)) == nbytes


@given(st.integers(0, 1 << 45))
def test_no_stored_size_is_an_error(stored: int) -> None:
    assert 0 <= opened_size(stored) <= stored


@given(st.binary(min_size=1, max_size=64), st.binary(max_size=64), st.binary(max_size=64), st.integers(1, 200))
def test_keys_are_derived_by_hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> None:
    assert derive(secret, salt, info, length) == HKDF(SHA256(), length, salt, info).derive(secret)


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=24, max_size=24), st.booleans(), st.booleans())
def test_a_header_is_read_as_it_was_written(key_id: bytes, salt: bytes, of_index: bool, last: bool) -> None:
    header = Header(key_id, salt, of_index, last)
    assert len(header.encode()) == 48
    assert read_header("x", memoryview(header.encode() + bytes(16))) == header


@pytest.mark.parametrize(("place", "value"), [(6, 2), (7, 4), (7, 128)])
def test_a_newer_version_is_refused(place: int, value: int) -> None:
    raw = bytearray(Header(bytes(16), bytes(24), of_index=False, last=True).encode() + bytes(16))
    raw[place] = value
    with pytest.raises(UnsupportedFormatError):
        read_header("x", memoryview(raw))


def test_bytes_that_are_shorter_than_a_magic_are_not_encrypted() -> None:
    assert not is_encrypted(b"")
    assert not is_encrypted(b"\x89QEN")
    assert not is_encrypted(b"\x89QUIVER\n")


def test_another_program_can_decrypt_by_what_the_formats_page_says() -> None:
    runtime = SystemRuntime(threads=1)
    inner = MemoryStore(runtime)
    store = encrypting(inner, new_keys(runtime), runtime)
    body = b"0123456789" * 10_000
    run(store.put_new("x/a", [body]))
    raw, data_key = bytes(run(inner.get("x/a"))), run(store.root_keys.current()).secret
    plain = b""
    for number in range(2):
        chunk = raw[number * 65_600 : (number + 1) * 65_600]
        object_key = HKDF(SHA256(), 32, chunk[24:48], b"quiver: object").derive(data_key)
        nonce = number.to_bytes(12, "big")
        bound = chunk[:48] + number.to_bytes(8, "little") + b"x/a"
        plain += AESGCM(object_key).decrypt(nonce, chunk[48:], bound)
    assert plain == body
    runtime.close()


def test_secrets_are_not_shown() -> None:
    assert "07" * 4 not in repr(DataKey(bytes(16), b"\x07" * 32))
    assert "x07" not in repr(DataKey(bytes(16), b"\x07" * 32))
