"""Metadata columns select exactly the rows that match, and survive damaged bytes."""

from __future__ import annotations

import itertools

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiver.format.metadata_columns import MetadataColumns, MetadataColumnsBuilder
from quiver.model.errors import CorruptObjectError
from quiver.model.filter import And, Exists, In, Or, Range, RangeOperator, StartsWith, matches

FIELDS = ["a", "b", "", "$x", "a.b", "\u96ea", "\U0001f600"]
BOUNDARY = [2**53, 2**53 + 1, 2**53 + 2, -(2**53) - 1, 2**63 - 1, -(2**63), 2**64 - 1, 2**64 - 2, 10**25]

strings = st.sampled_from(["", "a", "ab", "abc", "b", "\x00", "\u00e9", "\uffff", "\U00010000", "1"]) | st.text(
    max_size=4
)
stored_numbers = (
    st.integers(-3, 3)
    | st.sampled_from([number for number in BOUNDARY if number < 2**64])
    | st.integers(-(2**63), 2**64 - 1)
    | st.sampled_from([-0.0, 0.5, 1.0, 2.0**53, 2.0**63, 2.0**64, 5e-324, 1.7976931348623157e308])
    | st.floats(allow_nan=False, allow_infinity=False)
)
asked_numbers = stored_numbers | st.sampled_from([*BOUNDARY, 10**400, -(10**400)]) | st.integers()
values = strings | stored_numbers | st.booleans() | st.lists(strings, min_size=1, max_size=4)
values |= st.lists(stored_numbers, min_size=1, max_size=4)
fields = st.sampled_from(FIELDS)
documents = st.lists(st.dictionaries(fields, values, max_size=4), max_size=40)
primitives = strings | asked_numbers | st.booleans()
leaves = st.one_of(
    st.builds(In, fields, st.lists(primitives, min_size=1, max_size=3).map(tuple), st.booleans()),
    st.builds(Range, fields, st.sampled_from(RangeOperator), asked_numbers),
    st.builds(Exists, fields, st.booleans()),
    st.builds(StartsWith, fields, strings),
)
filters = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        .map(tuple)
        .flatmap(lambda parts: st.sampled_from([And(parts), Or(parts)]))
    ),
    max_leaves=6,
)


def encode(rows):
    return [orjson.dumps(row) for row in rows]


def build(rows, non_filterable=()):
    return MetadataColumns.build(encode(rows), non_filterable)


def decoded(columns):
    return MetadataColumns.decode(memoryview(columns.encode()), columns.rows)


def matching(rows, condition):
    return [number for number, row in enumerate(rows) if matches(condition, row)]


@pytest.mark.slow
@settings(max_examples=400)
@given(documents, st.lists(filters, min_size=1, max_size=6))
def test_select_gives_the_rows_that_match_before_and_after_storing(rows, conditions):
    columns = build(rows)
    stored = decoded(columns)
    for condition in conditions:
        expected = matching(rows, condition)
        assert list(columns.select(condition)) == expected
        assert list(stored.select(condition)) == expected


@given(st.lists(stored_numbers, min_size=1, max_size=30), st.data())
def test_numbers_compare_exactly_at_every_stored_value(numbers, data):
    rows = [{"n": number} for number in numbers]
    columns = build(rows)
    base = data.draw(st.sampled_from(numbers))
    for bound in (base, *([base - 1, base + 1] if isinstance(base, int) else [])):
        for condition in (In("n", (bound,)), *(Range("n", operator, bound) for operator in RangeOperator)):
            assert list(columns.select(condition)) == matching(rows, condition)


def large():
    """3,000 rows: distinct and frequent strings, numbers and booleans, arrays with repeated elements."""
    return [
        {
            "url": f"https://example.org/{number * 7919 % 3000:04d}",
            "kind": f"k{number % 3}",
            "size": number * 13 % 1000,
            "flag": number % 5 == 0,
            "tags": [f"t{number % 7}", "all", "all", f"t{number % 7}"],
            **({"rare": number} if number % 1000 == 0 else {}),
        }
        for number in range(3000)
    ]


@pytest.mark.parametrize(
    "condition",
    [
        In("url", ("https://example.org/0042", "https://example.org/2999", "https://example.org/3000")),
        In("url", ("https://example.org/0042",), negated=True),
        StartsWith("url", "https://example.org/00"),
        StartsWith("url", ""),
        StartsWith("url", "https://example.org/00420"),
        StartsWith("kind", "k"),
        In("kind", ("k1", "k2")),
        In("tags", ("all",)),
        In("tags", ("t3", "t4")),
        Range("size", RangeOperator.LT, 100),
        Range("size", RangeOperator.GTE, 0),
        In("flag", (True,)),
        In("flag", (False,), negated=True),
        Exists("rare"),
        Exists("rare", expected=False),
        Exists("nowhere", expected=False),
        In("nowhere", ("x",)),
        And(
            (In("kind", ("k1",)), Range("size", RangeOperator.LTE, 50), StartsWith("url", "https://example.org/0"))
        ),
        Or((In("rare", (1000,)), In("size", (999,)), Range("rare", RangeOperator.GT, 1000))),
    ],
)
def test_rare_and_frequent_values_of_many_rows(condition):
    rows = large()
    columns = decoded(build(rows))
    assert list(columns.select(condition)) == matching(rows, condition)


def test_distinct_strings_cost_their_text_and_a_few_bytes_more():
    rows = [{"url": f"https://example.org/{number:06d}"} for number in range(20_000)]
    text = sum(len(row["url"]) for row in rows)
    assert len(build(rows).encode()) < text + 17 * len(rows)


@given(documents, st.lists(st.integers(0, 40), max_size=4))
def test_rows_added_in_parts_give_the_columns_of_the_whole(rows, cuts):
    builder = MetadataColumnsBuilder(["b"])
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for start, end in itertools.pairwise(bounds):
        builder.add(encode(rows[start:end]))
    assert builder.encode() == build(rows, ["b"]).encode()


def test_a_selected_bitmap_belongs_to_the_caller():
    columns = build([{"a": "x"}, {"b": 1}, {"a": "y"}])
    for condition in (Exists("a"), In("a", ("x", "y")), Or((Exists("a"),)), And((Exists("a"),))):
        columns.select(condition).clear()
        assert list(columns.select(condition)) == [0, 2]


def test_non_filterable_keys_are_left_out():
    columns = build([{"a": "x", "text": "long"}, {"text": "longer"}], non_filterable=["text", "absent"])
    assert list(columns.select(Exists("text"))) == []
    assert list(columns.select(In("a", ("x",)))) == [0]
    assert b"long" not in columns.encode()


def test_a_value_no_filter_can_name_is_present_and_equals_nothing():
    rows = [{"a": None}, {"a": {"b": 1}}, {"a": []}, {}]
    columns = build(rows)
    for condition in (Exists("a"), In("a", (1, "b", False)), In("a", (1,), negated=True), StartsWith("a", "")):
        assert list(columns.select(condition)) == matching(rows, condition)


@pytest.mark.parametrize("rows", [[], [{}], [{}, {}]])
def test_rows_without_metadata(rows):
    columns = decoded(build(rows))
    assert list(columns.select(Exists("a", expected=False))) == list(range(len(rows)))
    assert list(columns.select(In("a", (1,)))) == []


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b"1", b'{"a":NaN}', b"\xff"])
def test_metadata_that_are_no_json_object_are_refused(document):
    with pytest.raises(CorruptObjectError):
        MetadataColumns.build([b"{}", document])


PROBES = [
    In("url", ("https://example.org/0042", "https://example.org/2999")),
    StartsWith("url", "https://example.org/00"),
    In("kind", ("k1",)),
    In("tags", ("all",), negated=True),
    Range("size", RangeOperator.LT, 500),
    In("size", (2**53 + 1, 3)),
    In("flag", (True,)),
    Exists("rare"),
]
INTACT = build([*large()[:150], {"size": 2**53 + 1}, {"size": -(2**53) - 1}]).encode()
ROWS = 152


def survives(damaged):
    """Every probe either answers within the rows or reports corruption; nothing else may happen."""
    for condition in PROBES:
        try:
            found = MetadataColumns.decode(memoryview(damaged), ROWS).select(condition)
        except CorruptObjectError:
            continue
        assert not found or found.max() < ROWS


@settings(max_examples=400)
@given(st.lists(st.tuples(st.integers(0, len(INTACT) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_give_corruption_or_an_answer(changes):
    damaged = bytearray(INTACT)
    for position, byte in changes:
        damaged[position] = byte
    survives(bytes(damaged))


@settings(max_examples=200)
@given(st.data())
def test_changed_words_give_corruption_or_an_answer(data):
    """Offsets and counts are words; these are the changes that could send a reader anywhere."""
    damaged = bytearray(INTACT)
    for _ in range(data.draw(st.integers(1, 3))):
        word = data.draw(st.integers(0, len(INTACT) // 4 - 2)) * 4
        damaged[word : word + 4] = data.draw(
            st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x01\0\0\0", b"\0\0\0\x80"])
            | st.binary(min_size=4, max_size=4)
        )
    survives(bytes(damaged))


@settings(max_examples=200)
@given(st.integers(0, len(INTACT) - 1), st.binary(max_size=16))
def test_truncated_and_extended_bytes_give_corruption_or_an_answer(length, more):
    survives(INTACT[:length] + more)
    survives(INTACT + more)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_corruption_or_an_answer(damaged):
    survives(damaged)


@pytest.mark.parametrize("rows", [0, ROWS - 1, ROWS + 1, 2**32 + 1])
def test_columns_of_another_number_of_rows_are_refused(rows):
    with pytest.raises(CorruptObjectError):
        MetadataColumns.decode(memoryview(INTACT), rows)


def test_a_damaged_field_leaves_the_others_readable():
    damaged = INTACT.replace(b"https://example.org/0000", b"\xff" * 24)
    assert damaged != INTACT
    columns = MetadataColumns.decode(memoryview(damaged), ROWS)
    assert list(columns.select(In("kind", ("k1",)))) == list(range(1, 150, 3))
