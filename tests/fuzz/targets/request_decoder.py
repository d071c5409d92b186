"""Request bodies of every operation: decoded, normalised and validated, and both ways of reading agree."""

from __future__ import annotations

import json

import numpy as np

from quiver.model.errors import SerializationError, ValidationError
from quiver.server.limits import ServerLimits
from quiver.server.wire import read_fast, read_params
from quiver.service.operations import OPERATIONS
from quiver.service.validation import normalise, validate
from server.fuzz import INDEX, VALID

LIMITS = ServerLimits()
NAMES = list(OPERATIONS)
SEEDS = [
    bytes([number]) + json.dumps(VALID.get(name, INDEX), ensure_ascii=number % 2 == 0).encode()
    for number, name in enumerate(NAMES)
]


def run(data: bytes) -> None:
    """The first byte chooses the operation; the rest is the body."""
    if not data:
        return
    operation, body = OPERATIONS[NAMES[data[0] % len(NAMES)]], data[1:]
    fast = read_fast(operation.name, body)
    try:
        params = read_params(operation.name, body, LIMITS)
    except SerializationError:
        assert fast is None or _repeats_members(body), "the fast way reads what the strict one refuses"
        return
    if fast is not None:
        _check_alike(fast, params)
    for given in (params, fast):
        if given is not None:
            _validate(operation.name, given)


def _validate(name: str, params: dict[str, object]) -> None:
    operation = OPERATIONS[name]
    try:
        validate(operation, normalise(operation, params))
    except (SerializationError, ValidationError) as error:
        error.message.encode("utf-8", "surrogatepass")


def _repeats_members(body: bytes) -> bool:
    """Of repeated structural members the last one counts on the fast way."""
    repeated = []

    def pairs(members: list[tuple[str, object]]) -> dict[str, object]:
        if len({name for name, _ in members}) < len(members):
            repeated.append(members)
        return dict(members)

    json.loads(body, object_pairs_hook=pairs)
    return bool(repeated)


def _check_alike(fast: dict[str, object], strict: dict[str, object]) -> None:
    """Where both ways take a body, they see the same in it."""
    fast_records, strict_records = fast["vectors"], strict["vectors"]
    assert isinstance(fast_records, list)
    assert isinstance(strict_records, list)
    assert {k: v for k, v in fast.items() if k != "vectors"} == {k: v for k, v in strict.items() if k != "vectors"}
    assert len(fast_records) == len(strict_records)
    for one, other in zip(fast_records, strict_records, strict=True):
        assert one.keys() == other.keys()
        assert one.get("key") == other.get("key")
        assert one.get("metadata") == other.get("metadata")
        if "data" in one:
            with np.errstate(over="ignore"):
                due = np.array(other["data"]["float32"], np.float64).astype(np.float32)
            assert np.array_equal(one["data"]["float32"], due)
