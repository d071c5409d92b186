"""Tests of Thrift's compact protocol, by bytes worked out from its specification."""

from __future__ import annotations

import pytest

from quiver.format.thrift import Long, encode, varint


@pytest.mark.parametrize(
    ("number", "wanted"), [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02"), (50_399, "df8903")]
)
def test_numbers_take_seven_bits_a_byte_the_lowest_first(number, wanted):
    assert varint(number).hex() == wanted


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, "00"),
        ({1: 3}, "1506 00"),
        ({1: 0, 3: 64}, "1500 258001 00"),
        ({15: 1}, "f502 00"),
        ({2: Long(1 << 40)}, "26 808080808040 00"),
        ({4: "k\u00e9y"}, "48 04 6bc3a979 00"),
        ({1: {2: 1}, 2: 2}, "1c 2502 00 1504 00"),
        ({1: [1, 2, 3]}, "19 35 02 04 06 00"),
        ({1: [Long(1)]}, "19 16 02 00"),
        ({1: ["a", "bc"]}, "19 28 0161 026263 00"),
        ({1: [{1: 1}, {}]}, "19 2c 150200 00 00"),
        ({1: []}, "19 0c 00"),
        ({1: [1] * 14}, "19 e5" + "02" * 14 + "00"),
        ({1: [1] * 15}, "19 f5 0f" + "02" * 15 + "00"),
        ({1: [1] * 200}, "19 f5 c801" + "02" * 200 + "00"),
    ],
)
def test_structures_are_encoded_as_the_specification_says(fields, wanted):
    assert encode(fields) == bytes.fromhex(wanted)
