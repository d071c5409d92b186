"""Logs: one JSON object a line, short, filtered by level."""

from __future__ import annotations

import io
import json

from quiver.server.logs import MAX_FIELD, describe, make_logger


def test_lines_are_json_even_when_values_are_not_text():
    stream = io.StringIO()
    make_logger(stream=stream).info("request", name="a\nb\x1b[31m", value=object(), size=3)
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert (entry["event"], entry["level"], entry["name"], entry["size"]) == ("request", "info", "a\nb\x1b[31m", 3)
    assert entry["timestamp"].endswith("Z")


def test_fields_are_cut():
    stream = io.StringIO()
    make_logger(stream=stream).info("x" * 10_000)
    assert len(json.loads(stream.getvalue())["event"]) == MAX_FIELD


def test_levels_below_the_chosen_one_are_silent():
    stream = io.StringIO()
    logger = make_logger("warning", stream)
    logger.info("quiet")
    logger.warning("loud")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_an_error_is_described_by_type_and_place_only():
    try:
        {}["a secret key"]
    except KeyError as error:
        fields = describe(error)
    assert fields["error"] == "KeyError"
    assert "test_an_error_is_described" in fields["frames"][-1]
    assert "a secret key" not in str(fields)
