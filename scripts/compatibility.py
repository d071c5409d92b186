"""Writes docs/compatibility.md from the tables that the tests work with: `python scripts/compatibility.py`.

The tables: the operations of the service (src/quiver/service/operations.py) beside the service model of botocore,
the catalogue of errors (tests/api/error_rows.py), what differs and which test pins it (tests/docs/deviations.py),
the choices of decision 4, and the clients (tests/clients/catalogue.py).
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[1]
for folder in ("src", "tests"):
    sys.path.insert(0, str(ROOT / folder))

from api import error_rows, model  # noqa: E402 - the path is set above
from clients.catalogue import CLIENTS  # noqa: E402
from docs.deviations import CHOICES, DEVIATIONS  # noqa: E402
from quiver.service.operations import OPERATIONS  # noqa: E402
from service.test_operations import DEVIATIONS as SHAPE_DEVIATIONS  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGE = ROOT / "docs" / "compatibility.md"
OPERATIONS_PAGE = ROOT / "docs" / "operations.md"
DECISION = ROOT / "docs" / "decisions" / "0004-where-the-contract-is-silent.md"
LOCK = ROOT / "requirements" / "clients.txt"
LOCK_OF_NODE = ROOT / "tests" / "clients" / "node" / "package-lock.json"
TESTED_BY = {
    "VectorBucketPolicy": "buckets",
    "VectorBucket": "buckets",
    "Resource": "buckets",
    "QueryVectors": "queries",
    "Vectors": "vectors",
    "Index": "indexes",
    "MetadataConfiguration": "texts",
}
"""The file of tests/api that an operation is in, by the first part of its name that fits."""

INTRODUCTION = """\
# Compatibility with Amazon S3 Vectors

<!-- Written by scripts/compatibility.py; a test compares. Change the tables it reads, not this page. -->

The reference is the service model of botocore {botocore}, API version {version}: {count} operations. Tests compare
Quiver's table of operations with it, member by member, length by length, pattern by pattern, and so the
answers of a server.
For what the model does not say, the reference is what AWS was seen to do: published observations, and tests that
others ran against AWS. Where nobody has looked, the choice is listed below, with its reason and its test.
"""


def page() -> str:
    """The whole page."""
    parts = [introduction(), operations(), clients(), differences(), choices(), errors()]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def introduction() -> str:
    return INTRODUCTION.format(botocore=pinned("botocore"), version=model.API_VERSION, count=len(OPERATIONS))


def operations() -> str:
    """One row for each operation: where it is, how large it is, how far it is served, what shows it."""
    served = dict(cells(OPERATIONS_PAGE.read_text().split("## Operations served\n", 1)[1].split("\n## ", 1)[0]))
    rows = [
        (
            name,
            f"`{operation.method} {operation.path}`",
            f"{len(operation.input.members)}, {len(model.members(name, model.output_of(name)))}",
            served[name].replace("](#", "](operations.md#"),
            link(f"tests/api/{tested_by(name)}.py"),
        )
        for name, operation in OPERATIONS.items()
    ]
    table_ = table(("Operation", "Route", "Members of request, answer", "Served", "Tests"), rows)
    bounds = [
        (f"`{fact}`", f"`{bound(theirs)}`", f"`{bound(ours)}`", reason)
        for fact, (ours, theirs, reason) in SHAPE_DEVIATIONS.items()
    ]
    return f"""## Operations

{table_}
All members of requests are read as the model has them, with these exceptions:

{table(("Member", "Model", "Here", "Why"), bounds)}
Answers have the members of the model and no others ({link("tests/api/test_answers.py")}).
"""


def clients() -> str:
    """Other people's clients and how many tests they pass."""
    rows = [
        (
            f"{client.package} {pinned(client.package)}",
            client.tests,
            client.passing,
            "<br>".join(f"`{test}`: {reason}" for test, reason in client.failing.items()) or "none",
        )
        for client in CLIENTS.values()
    ]
    return f"""## Clients

Run unmodified against `quiver serve` by `make clients`, in an environment of their own. `make test` has
boto3 {pinned("boto3")} and `aws s3vectors`: all operations and all paginators.

{table(("Client", "Tests", "Pass", "Do not pass, and why"), rows)}
Not run: S3Mock's integration tests (they need Java); s3vectors-embed-cli (it knows no endpoint but Amazon's own);
the integration for Haystack (not released).
"""


def differences() -> str:
    """What is known to differ."""
    rows = [(d.operations, d.aws, d.here, d.reason, link(d.test)) for d in DEVIATIONS]
    return f"## Differences\n\n{table(('Operations', 'AWS', 'Here', 'Why', 'Test'), rows)}"


def choices() -> str:
    """The rows of decision 4 with their tests."""
    rows = [(question, choice, why, link(CHOICES[question])) for question, choice, why in decided()]
    return f"""## Where AWS is silent

From [decision 4](decisions/{DECISION.name}). A live observation of AWS to the contrary wins.

{table(("Question", "Choice", "Why", "Test"), rows)}"""


def errors() -> str:
    """The catalogue of errors."""
    rows = [
        (row.situation, row.operation, f"{row.status} {row.code}", said(row.message), row.source)
        for row in error_rows.ROWS
    ]
    more = [
        (row.situation, f"{row.status} {row.code}", said(row.message), row.source, link(row.test))
        for row in error_rows.ELSEWHERE
    ]
    return f"""## Errors

Every row of the first table is a test in its exact words, and so are the paths in the fieldList
({link("tests/api/test_error_catalogue.py")}). Words of AWS were seen in its answers, words of its manual or of
an emulator were not, and the others are Quiver's own.

{table(("Situation", "For example", "Error", "Message", "Words of"), rows)}
Elsewhere:

{table(("Situation", "Error", "Message", "Words of", "Test"), more)}"""


def decided() -> list[tuple[str, str, str]]:
    """The rows of the table of decision 4: question, choice, why."""
    return [(question, choice, why) for question, choice, why in cells(DECISION.read_text())]


def cells(text: str) -> list[list[str]]:
    """The rows of the only table of a text, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def pinned(package: str) -> str:
    """The version that the lock file of the clients has; names with @ are packages for JavaScript."""
    if package.startswith("@"):
        return str(json.loads(LOCK_OF_NODE.read_text())["packages"][f"node_modules/{package}"]["version"])
    (version,) = re.findall(rf"^{re.escape(package)}==([\w.]+)", LOCK.read_text(), re.MULTILINE)
    return str(version)


def tested_by(operation: str) -> str:
    return next(file for part, file in TESTED_BY.items() if part in operation)


def said(message: str) -> str:
    """A message as the page shows it; "..." stands for what is not fixed."""
    return "" if message == "..." else f"`{message}`"


def bound(fact: tuple[object, ...]) -> str:
    return " ".join("no bound" if value is None else f"{value}" for value in fact)


def link(test: str) -> str:
    """A test as a link to its file."""
    file, _, name = test.partition("::")
    return f"[{name.rpartition('::')[2] or file}](../{file})"


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [list(heads), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page())
