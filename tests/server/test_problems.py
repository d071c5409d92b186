"""Problems are remembered with the object at fault, in a file that the admin listener reads; never too many."""

from __future__ import annotations

import io
import itertools
import json
from typing import TYPE_CHECKING

from quiver.engine.native.workshop import Job
from quiver.model.errors import CorruptObjectError, UnavailableError
from quiver.server.logs import make_logger
from quiver.server.problems import KEPT, Problems, read_problems
from quiver.server.worker import _note_patrol, _note_upkeep

if TYPE_CHECKING:
    from pathlib import Path

DAMAGE = CorruptObjectError("index/0a/segment/1/rows.parquet: checksum of block 3 does not match")


def test_the_same_problem_is_counted_and_the_latest_comes_first(tmp_path: Path) -> None:
    problems = Problems(itertools.count(100.0).__next__, tmp_path)
    problems.note("tidy failed", "0a", DAMAGE)
    problems.note("flush failed", "0b", UnavailableError("the store is away"))
    problems.note("tidy failed", "0a", DAMAGE)
    assert read_problems(tmp_path) == [
        {
            "event": "tidy failed",
            "index": "0a",
            "error": "CorruptObjectError",
            "message": DAMAGE.message,
            "count": 2,
            "first": 100.0,
            "last": 102.0,
        },
        {
            "event": "flush failed",
            "index": "0b",
            "error": "UnavailableError",
            "message": "the store is away",
            "count": 1,
            "first": 101.0,
            "last": 101.0,
        },
    ]


def test_of_many_the_latest_are_kept_also_over_processes(tmp_path: Path) -> None:
    problems = Problems(itertools.count().__next__, tmp_path)
    for number in range(KEPT + 5):
        problems.note("flush failed", f"{number}", DAMAGE)
    (file,) = tmp_path.iterdir()
    file.rename(tmp_path / "problems-1.json")
    later = Problems(itertools.count(1000).__next__, tmp_path)
    later.note("flush failed", "later", DAMAGE)
    found = [problem["index"] for problem in read_problems(tmp_path)]
    assert found == ["later", *(f"{number}" for number in range(KEPT + 4, 5, -1))]


def test_what_may_quote_stored_data_is_not_remembered(tmp_path: Path) -> None:
    Problems(float, tmp_path).note("flush failed", "0a", KeyError("a stored key"))
    (problem,) = read_problems(tmp_path)
    assert (problem["error"], problem["message"]) == ("KeyError", "")


def test_a_full_disk_is_nobodys_error(tmp_path: Path) -> None:
    problems = Problems(float, tmp_path / "absent")
    assert problems.note("flush failed", "0a", DAMAGE).count == 1
    assert problems.note("flush failed", "0a", DAMAGE).count == 2


def test_upkeep_and_patrols_leave_a_line_and_a_problem_that_name_the_object(tmp_path: Path) -> None:
    stream, problems = io.StringIO(), Problems(float, tmp_path)
    _note_upkeep(make_logger(stream=stream), problems, Job.TIDY, "0a", DAMAGE)
    _note_patrol(make_logger(stream=stream), problems, "0b", DAMAGE)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["event"], line["index"], line["message"]) for line in lines] == [
        ("upkeep failed", "0a", DAMAGE.message),
        ("patrol failed", "0b", DAMAGE.message),
    ]
    assert {problem["event"] for problem in read_problems(tmp_path)} == {"tidy failed", "patrol failed"}
