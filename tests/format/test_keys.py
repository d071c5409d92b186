"""Tests of key hashes, which are stored and so never change."""

from __future__ import annotations

from quiver.format.keys import key_hash, key_hashes, utf8_hashes


def test_hashes_are_what_they_have_always_been():
    known = {"": 0x2D06800538D394C2, "a": 0xE6C632B61E964E1F, "\u00e9": key_hash("\u00e9")}
    assert {key: key_hash(key) for key in known} == known
    assert key_hashes(known).tolist() == list(known.values())
    assert utf8_hashes(key.encode() for key in known).tolist() == list(known.values())
    assert key_hash("\u00e9") != key_hash("e\u0301")
    assert key_hashes([]).shape == (0,)
