"""Records: named values that stay as they are."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from quiver.model.record import Record


class Pair(Record, frozen=True):
    one: int
    other: str = "b"


def test_a_record_has_its_values_by_name_and_stays_as_it_is():
    pair = Pair(1)
    assert (pair.one, pair.other) == (1, "b")
    with pytest.raises(AttributeError):
        pair.one = 2
    assert replace(pair, one=2) == Pair(2, other="b") != pair
    assert len({pair, Pair(1), Pair(2)}) == 2
