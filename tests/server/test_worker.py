"""What a worker writes about the patrol of a maintainer."""

from __future__ import annotations

import io
import json

from quiver.model.errors import UnavailableError
from quiver.server.logs import make_logger
from quiver.server.problems import Problems
from quiver.server.worker import _note_patrol


def line_about(error: Exception) -> dict[str, object]:
    stream = io.StringIO()
    _note_patrol(make_logger(stream=stream), Problems(float), "0a", error)
    (line,) = stream.getvalue().splitlines()
    return json.loads(line)


def test_a_failure_of_the_patrol_is_a_line_with_the_index_and_the_reason():
    line = line_about(UnavailableError("the store is away"))
    assert (line["level"], line["event"], line["index"]) == ("error", "patrol failed", "0a")
    assert (line["error"], line["message"]) == ("UnavailableError", "the store is away")


def test_of_an_unforeseen_failure_the_message_is_left_out():
    line = line_about(KeyError("a stored key"))
    assert (line["error"], line["message"]) == ("KeyError", "")
    assert "a stored key" not in json.dumps(line)
