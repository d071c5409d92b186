"""The service model of botocore: whether an answer is of the shape it describes, and which members were seen."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import botocore

API_VERSION = "2025-07-15"
FILE = Path(botocore.__file__).parent / "data" / "s3vectors" / API_VERSION / "service-2.json.gz"
MODEL: dict[str, Any] = json.loads(gzip.decompress(FILE.read_bytes()))
SHAPES: dict[str, Any] = MODEL["shapes"]
PYTHON = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float),
    "list": list,
    "map": dict,
    "structure": dict,
}


def output_of(operation: str) -> str:
    """The name of the shape of an operation's answer."""
    return str(MODEL["operations"][operation]["output"]["shape"])


def members(path: str, name: str) -> set[str]:
    """The paths of all members below a shape, lists as []."""
    shape, found = SHAPES[name], set()
    for member, reference in shape.get("members", {}).items():
        found |= {f"{path}/{member}"} | members(f"{path}/{member}", reference["shape"])
    if shape["type"] == "list":
        found |= members(f"{path}/[]", shape["member"]["shape"])
    return found


def conform(path: str, name: str, value: Any, seen: set[str]) -> None:
    """Add the paths of a value's members to `seen`. Raises AssertionError where it is not of the shape."""
    shape = SHAPES[name]
    kind = shape["type"]
    if shape.get("document"):
        return
    assert isinstance(value, PYTHON[kind]), (path, value)
    assert (kind == "boolean") == isinstance(value, bool), (path, value)
    if "enum" in shape:
        assert value in shape["enum"], (path, value)
    if kind == "list":
        for element in value:
            conform(f"{path}/[]", shape["member"]["shape"], element, seen)
    if kind == "map":
        for key, element in value.items():
            conform(f"{path}/key", shape["key"]["shape"], key, seen)
            conform(f"{path}/value", shape["value"]["shape"], element, seen)
    if kind == "structure":
        assert set(shape.get("required", ())) <= set(value) <= set(shape["members"]), (path, sorted(value))
        for member, element in value.items():
            seen.add(f"{path}/{member}")
            conform(f"{path}/{member}", shape["members"][member]["shape"], element, seen)
