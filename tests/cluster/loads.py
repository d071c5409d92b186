"""Clients that load thousands of rows at once and meanwhile write, delete and read some of the same keys.

A load writes one value to every key of an index of its own: to a few that puts and deletes write too, and to many
that only loads write. The many are one register: a load is visible whole or not at all, so at any moment each of
them has the same value.
"""

from __future__ import annotations

import io
import itertools
import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from cluster.requests import Outcome
from cluster.workload import BUCKET, RADIX, Clients, Read, checked, record, value_of
from simulation.checkers.history import Kind, Violation

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Iterator, Sequence

    from cluster.ledger import Ledger
    from cluster.requests import Answer, Client

NAMES = {"vectorBucketName": BUCKET, "indexName": "loaded"}
SHARED = tuple(f"shared-{n}" for n in range(6))
"""Keys that puts and deletes write as well."""
MANY = tuple(f"row-{n}" for n in range(10_000))
"""With the others just more rows than are put through the log instead."""
REST = "all other rows"
"""The register that MANY are."""
REGISTERS = (*SHARED, REST)
SAMPLE = 40
"""How many of MANY a read looks at while clients write."""


class LoadingClients(Clients):
    """As Clients, with loads among the rest.

    Commits of answers are left out: a load takes place just after the commit that it names, so the number does not
    say whether a read at that commit comes before it.
    """

    name = "loading"

    def _step(self, client: Client, pages: Ledger, chance: random.Random) -> Outcome:
        dice = chance.random()
        if dice < 0.12:
            return self._load(client, pages, broken=dice < 0.02)
        keys = chance.sample(SHARED, chance.randint(1, 3))
        if dice < 0.5:
            value = next(self._values)
            vectors = [record(key, value) for key in keys]
            send = lambda: _unordered(client.call("PutVectors", **NAMES, vectors=vectors))  # noqa: E731
            return checked(pages.record(Kind.PUT, dict.fromkeys(keys, value), send), broken=False)
        if dice < 0.65:
            send = lambda: _unordered(client.call("DeleteVectors", **NAMES, keys=keys))  # noqa: E731
            return checked(pages.record(Kind.DELETE, dict.fromkeys(keys), send), broken=False)
        found = read_some(client, chance.sample(MANY, SAMPLE))
        if found is None:
            return Outcome.UNKNOWN
        self.reads.append(found)
        return Outcome.OK

    def _load(self, client: Client, pages: Ledger, *, broken: bool) -> Outcome:
        """Load every key; a `broken` load has a last row that must get the whole load refused."""
        value = next(self._values)
        body = stream(value, broken=broken)
        send = lambda: _unordered(client.load(NAMES, body))  # noqa: E731
        return checked(pages.record(Kind.PUT, dict.fromkeys(REGISTERS, value), send), broken=broken)


def _unordered(answer: Answer) -> Answer:
    return answer._replace(commit=None)


def stream(value: int, *, broken: bool = False) -> bytes:
    """An Arrow stream of every key with one value; if `broken`, the last vector is not a number."""
    keys = [*SHARED, *MANY]
    numbers = np.tile(np.float32(divmod(value, RADIX)), (len(keys), 1))
    if broken:
        numbers[-1] = np.nan
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(numbers.reshape(-1)), 2)
    documents = [json.dumps({"value": value})] * len(keys)
    table = pa.table({"key": keys, "vector": vectors, "metadata": documents})
    body = io.BytesIO()
    with pa.ipc.new_stream(body, table.schema) as writer:
        writer.write_table(table)
    return body.getvalue()


def read_some(client: Client, sample: Sequence[str]) -> Read | None:
    """The registers by GetVectors, where a few of MANY stand for all; None when there was no answer."""
    asked = {"keys": [*SHARED, *sample], "returnData": True, "returnMetadata": True}
    pages = (client.call("GetVectors", **NAMES, **asked) for _ in range(1))
    return _read(pages, sample, "GetVectors")


def read_every(client: Client) -> Read | None:
    """The registers by ListVectors of every row. Only while nobody writes."""
    return _read(_pages(client), MANY, "ListVectors")


def _pages(client: Client) -> Iterator[Answer]:
    more: dict[str, Any] = {}
    while more is not None:
        answer = client.call("ListVectors", **NAMES, maxResults=1000, returnMetadata=True, **more)
        yield answer
        token = answer.body.get("nextToken")
        more = {"nextToken": token} if token else None


def _read(pages: Iterable[Answer], expected: Sequence[str], source: str) -> Read | None:
    call = time.monotonic()
    shown: list[dict[str, Any]] = []
    for answer in pages:
        if answer.outcome is Outcome.REFUSED or answer.status == 500:
            raise Violation(f"{source} was answered {answer}")
        if answer.outcome is not Outcome.OK:
            return None
        shown += answer.body["vectors"]
    return Read(call, time.monotonic(), REGISTERS, registers(shown, expected), None, source)


def registers(shown: Sequence[dict[str, Any]], expected: Sequence[str]) -> dict[str, int]:
    """The value of each register that is there.

    Args:
        expected: the rows of MANY that were asked for.

    Raises: Violation: a row is shown twice or was not asked for, or a load is there in part.
    """
    values = {each["key"]: value_of(each) for each in shown}
    if len(values) != len(shown) or not values.keys() <= {*SHARED, *expected}:
        raise Violation("keys are shown twice, or others than were asked for")
    rest = [values.get(key) for key in expected]
    if len(set(rest)) > 1:
        first, other = next(pair for pair in itertools.pairwise(rest) if pair[0] != pair[1])
        raise Violation(f"a load is there in part: {first} and {other} of {sorted(set(rest), key=str)}")
    found = {key: values[key] for key in SHARED if key in values}
    return found if rest[0] is None else found | {REST: rest[0]}
