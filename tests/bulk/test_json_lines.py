"""JSON Lines as rows: every form a line may take, and what is refused, by its number."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk.reading import refusal, rows
from quiver.bulk import json_lines
from quiver.bulk.columns import Columns
from quiver.bulk.json_lines import JsonLinesSource

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path, text: str | bytes, size: int = 100, **columns: Any) -> Any:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return rows(JsonLinesSource(path, Columns(**columns)), size)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl"


@pytest.mark.parametrize(
    "line",
    [
        '{"key":"a","vector":[1,2.5],"metadata":{"n":1}}',
        '{"id": "a", "data": {"float32": [1, 2.5]}, "metadata": {"n": 1}}',
        '{"metadata":"{\\"n\\":1}","vector":[1,2.5],"key":"a"}',
        '{"key":"a","vector":[1,2.5],"n":1,"nothing":null}',
    ],
)
def test_every_form_of_a_line(path: Path, line: str) -> None:
    assert read(path, line) == [("a", [1, 2.5], {"n": 1})]
    assert read(path, f"\n{line}\r\n  \n{line}\n") == [("a", [1, 2.5], {"n": 1})] * 2


def test_vectors_are_float32(path: Path) -> None:
    path.write_text('{"key":"a","vector":[0.1,1e39]}')
    (batch,) = JsonLinesSource(path, Columns()).batches(1)
    assert batch.vectors[0].dtype == np.float32
    assert batch.vectors[0].tolist() == [np.float32(0.1), np.inf]


def test_components_that_json_has_no_numbers_for_are_left_for_the_rules(path: Path) -> None:
    ((_, vector, _),) = read(path, '{"key":"a","vector":["NaN","-Infinity",1]}')
    assert np.isnan(vector[0])
    assert vector[1:] == [-np.inf, 1]


def test_whole_numbers_as_keys_become_text(path: Path) -> None:
    assert [key for key, _, _ in read(path, '{"key":7,"vector":[1]}\n{"key":null,"vector":[1]}')] == ["7", None]


def test_members_named_by_the_user(path: Path) -> None:
    line = '{"k":"a","v":[1],"n":1,"m":{"x":2},"z":[3]}'
    assert read(path, line, key="k", vector="v", metadata="m") == [("a", [1], {"x": 2})]
    assert read(path, line, key="k", vector="v", metadata=["n", "z"]) == [("a", [1], {"n": 1, "z": [3]})]
    assert read(path, line, key="k", vector="v", metadata=[]) == [("a", [1], {})]


def test_the_first_line_decides_where_metadata_are(path: Path) -> None:
    first = '{"key":"a","vector":[1],"metadata":{"n":1}}\n'
    assert read(path, first + '{"key":"b","vector":[2],"extra":5}') == [("a", [1], {"n": 1}), ("b", [2], None)]
    lines = '{"key":"a","vector":[1]}\n{"key":"b","vector":[2],"n":5}'
    assert read(path, lines) == [("a", [1], {}), ("b", [2], {"n": 5})]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not a JSON object"),
        ("[1]", "not a JSON object"),
        ('{"key":"b","vector":[1]} x', "not a JSON object"),
        ('{"vector":[1]}', "there is no 'key'"),
        ('{"key":"b"}', "there is no 'vector'"),
        ('{"key":1.5,"vector":[1]}', "key must be text or a whole number"),
        ('{"key":true,"vector":[1]}', "key must be text or a whole number"),
        ('{"key":"\\ud800","vector":[1]}', "not a JSON object"),
        ('{"key":"b","vector":1}', "vector must be a list of numbers"),
        ('{"key":"b","vector":[true]}', "vector must be a list of numbers"),
        ('{"key":"b","vector":[[1]]}', "vector must be a list of numbers"),
        ('{"key":"b","vector":["1"]}', "vector must be a list of numbers"),
        ('{"key":"b","vector":{"float64":[1]}}', "vector has no list of numbers called float32"),
        ('{"key":"b","vector":[1e400]}', "vector is not valid JSON"),
        ('{"key":"b","vector":[NaN]}', "not a JSON object"),
        ('{"key":"b","vector":[1],"metadata":{"a":1,"a":2}}', "metadata is not valid JSON"),
        ('{"key":"b","vector":[1],"metadata":{"a":18446744073709551616}}', "metadata is not valid JSON"),
        ('{"key":"b","vector":[1],"metadata":"{"}', "metadata is not valid JSON"),
        ('{"key":"b","vector":[1],"n":' + "[" * 5000 + "]" * 5000 + "}", "not a JSON object"),
    ],
)
def test_bad_lines_are_refused_by_number(path: Path, line: str, message: str) -> None:
    good = '{"key":"a","vector":[1],"metadata":{}}\n\n'
    assert refusal(lambda: read(path, good + line)) == f"{path}: line 3: {message}"


def test_bytes_that_are_not_utf8_are_refused(path: Path) -> None:
    line = b'{"key":"a","vector":[1],"metadata":{"s":"\xff"}}'
    assert refusal(lambda: read(path, line)) == f"{path}: line 1: metadata is not valid JSON"


def test_a_line_without_end_is_not_read_into_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "MAX_LINE", 1000)
    assert len(read(path, '{"key":"a","vector":[1]}'.ljust(999) + "\n")) == 1
    text = '{"key":"a","vector":[1]}\n' + "x" * 1001
    assert refusal(lambda: read(path, text)) == f"{path}: line 2 is longer than 1000 bytes"


def test_gzipped_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    lines = "".join(json.dumps({"key": str(i), "vector": [i]}) + "\n" for i in range(1000))
    packed = gzip.compress(lines.encode())
    assert read(path, packed, 300) == [(str(i), [i], {}) for i in range(1000)]
    for data in (packed[:-10], packed[:100] + b"xxxxxx" + packed[106:], b"not gzip at all"):
        assert "damaged or cut short" in refusal(lambda data=data: read(path, data))


def test_batches_hold_a_bounded_amount_of_text(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "BATCH_BYTES", 1000)
    path.write_text("".join(json.dumps({"key": str(i), "vector": [i], "s": "x" * 300}) + "\n" for i in range(10)))
    assert [len(batch.keys) for batch in JsonLinesSource(path, Columns()).batches(100)] == [3, 3, 3, 1]


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        JsonLinesSource(tmp_path / "none.jsonl", Columns())


FLOATS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=4)
DOCUMENTS = st.dictionaries(
    st.text(max_size=3), st.integers(-(2**63), 2**63 - 1) | st.text(max_size=3) | st.booleans()
)


@given(st.lists(st.tuples(st.text(), FLOATS, DOCUMENTS), min_size=1, max_size=5))
@settings(max_examples=60)
def test_what_json_writes_is_read(tmp_path_factory: pytest.TempPathFactory, records: Any) -> None:
    lines = [json.dumps({"key": key, "vector": vector, "metadata": meta}) for key, vector, meta in records]
    found = read(tmp_path_factory.getbasetemp() / "random.jsonl", "\n".join(lines), 2)
    assert found == [(key, vector, meta) for key, vector, meta in records]
