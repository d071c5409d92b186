"""docs/compatibility.md is what its tables make of it, and the tests it names exist."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

import botocore
import pytest

from api.bad_input import catalogue
from api.error_rows import ELSEWHERE
from clients.catalogue import CLIENTS
from docs.deviations import CHOICES, DEVIATIONS
from quiver.service.operations import OPERATIONS

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "compatibility.py"))
NAMED = sorted({row.test for row in (*DEVIATIONS, *ELSEWHERE)} | set(CHOICES.values()))


def test_the_page_is_up_to_date() -> None:
    assert SCRIPT["PAGE"].read_text() == SCRIPT["page"](), "run python scripts/compatibility.py"


def test_every_choice_of_the_decision_has_a_test_and_no_other() -> None:
    assert {question for question, _, _ in SCRIPT["decided"]()} == set(CHOICES), "see tests/docs/deviations.py"


@pytest.mark.parametrize("test", NAMED)
def test_a_test_that_is_named_exists(test: str) -> None:
    test, _, line = test.rstrip("]").partition("[")
    assert not line or getattr(catalogue, line) in catalogue.LINES
    file, *names = test.split("::")
    body = ast.parse((ROOT / file).read_text()).body
    for name in names:
        (found,) = [each for each in body if getattr(each, "name", None) == name]
        body = found.body
    assert found.name.startswith("test_")


def test_differences_name_operations() -> None:
    named = {operation for row in DEVIATIONS for operation in row.operations.split(", ")}
    assert named <= {*OPERATIONS, "all"}


def test_every_client_is_locked_and_has_its_reason() -> None:
    lines = (ROOT / "requirements" / "clients.in").read_text().splitlines()
    wanted = {line for line in lines if not line.startswith("#")}
    reasons = (ROOT / "docs" / "dependencies.md").read_text().split("## To prove the API\n")[1].split("\n## ")[0]
    assert {name for name in wanted if f"| {name} |" not in reasons} == set()
    assert {client.package for client in CLIENTS.values()} <= wanted | {"@aws-sdk/client-s3vectors"}
    assert all(SCRIPT["pinned"](name) for name in wanted)


def test_the_lock_files_and_this_environment_have_the_same_model() -> None:
    assert SCRIPT["pinned"]("botocore") == botocore.__version__
