"""Tests of checkpoints as bytes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from format.hostile import RANDOM_BYTES, damaged, survives, truncations
from quiver.engine.native.state import IndexCheckpoint, Pin, SegmentRef, decode_checkpoint, encode_checkpoint
from quiver.format.checkpoint import Checkpoint, Session, decode, encode
from quiver.model.errors import CorruptObjectError
from quiver.model.types import DistanceMetric, IndexSpec

SLOT = st.integers(0, 2**63 - 1)
RESULTS = st.lists(st.none() | st.integers(-5, 5) | st.text(max_size=5), max_size=3)
CHECKPOINTS = st.builds(
    Checkpoint,
    generation=SLOT,
    slot=SLOT,
    sealed=st.booleans(),
    sessions=st.dictionaries(st.text(max_size=8), st.builds(Session, SLOT, SLOT, RESULTS), max_size=4),
    horizon=SLOT,
    state=st.binary(max_size=60),
)
INDEX_STATE = IndexCheckpoint(
    IndexSpec(7, DistanceMetric.COSINE, ("a", "\u00e9")),
    [SegmentRef("1-1-f", 10, 1 << 40), SegmentRef("2-9-e", 3, 5, b"tombstones", "a" * 32)],
    pins=[Pin("f" * 32, "name", 7.5, 9, [SegmentRef("1-1-f", 10, 1 << 40)], "b" * 32)],
    origin="a" * 32,
)


def read(data: bytes) -> Checkpoint:
    return decode("key", memoryview(data))


@given(CHECKPOINTS)
def test_what_goes_in_comes_out(checkpoint):
    assert read(encode(checkpoint)) == checkpoint


def test_the_state_of_an_index_round_trips():
    assert decode_checkpoint(encode_checkpoint(INDEX_STATE)) == INDEX_STATE


def test_a_state_from_before_snapshots_has_none():
    new = msgspec.msgpack.decode(encode_checkpoint(INDEX_STATE))
    old = {field: new[field] for field in ("spec", "segments", "reserved", "volume")}
    for ref in old["segments"]:
        del ref["home"]
    read_again = decode_checkpoint(msgspec.msgpack.encode(old))
    assert (read_again.pins, read_again.origin) == ([], "")
    assert [ref.home for ref in read_again.segments] == ["", ""]


@pytest.mark.parametrize("stranger", ["../" + "a" * 29, "a" * 31, "A" * 32, "a" * 32 + "\n", "index"])
@pytest.mark.parametrize("field", ["home", "holder", "origin"])
def test_what_is_no_index_id_is_refused(field, stranger):
    state = msgspec.msgpack.decode(encode_checkpoint(INDEX_STATE))
    {"home": state["segments"][0], "holder": state["pins"][0], "origin": state}[field][field] = stranger
    with pytest.raises(CorruptObjectError):
        decode_checkpoint(msgspec.msgpack.encode(state))


def test_unreadable_tombstones_are_refused():
    for stored in (b"tombstones", b"\0", b"\xff" * 40):
        with pytest.raises(CorruptObjectError):
            SegmentRef("1-1-f", 10, 5, stored).dead()


@given(RANDOM_BYTES)
def test_random_bytes_never_raise_anything_else(data):
    survives(read, data)
    survives(decode_checkpoint, data)
    survives(lambda data: SegmentRef("1-1-f", 10, 5, data).dead(), data)


def test_damage_never_raises_anything_else():
    whole = encode(Checkpoint(3, 9, False, {"w" * 32: Session(1, 2, [None, [1, "x"]])}, 0, b"state" * 5))
    assert not any(survives(read, short) for short in truncations(whole))
    outcomes = [survives(read, each) for each in damaged(whole, 2000)]
    outcomes += [survives(decode_checkpoint, each) for each in damaged(encode_checkpoint(INDEX_STATE), 2000)]
    assert not all(outcomes)


def test_nesting_without_end_is_refused():
    deep = encode(Checkpoint(3, 9, False, {"w": Session(1, 2, ["HERE"])}, 0, b""))
    with pytest.raises(CorruptObjectError):
        read(deep.replace(b"\xa4HERE", b"\x91" * 100_000 + b"\x01"))
