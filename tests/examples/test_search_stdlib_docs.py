"""The example runs against a real server and its answers make sense."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.running import KEYS, RunningServer, environment

EXAMPLE = Path(__file__).parents[2] / "examples" / "search_stdlib_docs.py"


@pytest.mark.slow
def test_the_example_indexes_the_standard_library_and_answers_questions(tmp_path: Path) -> None:
    with RunningServer(str(tmp_path / "data"), **KEYS) as server:
        done = subprocess.run(
            [sys.executable, str(EXAMPLE)],
            env=environment(QUIVER_ENDPOINT=server.url, **KEYS),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        listed = [
            vector["key"]
            for page in server.client()
            .get_paginator("list_vectors")
            .paginate(vectorBucketName="examples", indexName="stdlib-docs")
            for vector in page["vectors"]
        ]
    assert done.returncode == 0, done.stderr
    stored = int(re.search(r"Stored (\d+) docstrings", done.stdout)[1])
    assert stored > 2_000
    assert len(listed) == len(set(listed)) == stored
    answers = {
        question: re.findall(r"^  \d\.\d{3}  (\S+)", block, re.MULTILINE)
        for question, block in re.findall(r"^(\w[^\n]*)\n((?:  [^\n]*\n)+)", done.stdout, re.MULTILINE)
    }
    assert "zlib.compress" in answers["compress data"]
    assert "glob.glob" in answers["find files matching a pattern"]
    assert answers["binary search in a sorted list"][0].startswith("bisect.bisect")
    assert all(len(hits) == 5 for hits in answers.values())


def test_without_a_server_the_example_says_so() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), "anything"],
        env=environment(QUIVER_ENDPOINT="http://127.0.0.1:9", AWS_MAX_ATTEMPTS="1", **KEYS),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    assert "Could not connect" in done.stderr
    assert "Traceback" not in done.stderr
