"""The structure of a new index as arguments of the library, beside those of S3 Vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quiver.service.structure_tags import CHOICES, PREFIX


def as_tags(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of CreateIndex with `partitioner`, `codec` and `recall` turned into the tags that say so.

    None stands for the default. Whether a value can be used is for the service to judge.
    Raises: TypeError: a choice is made by an argument and by a tag.
    """
    chosen = {PREFIX + name: str(arguments[name]) for name in CHOICES if arguments.get(name) is not None}
    others = {name: value for name, value in arguments.items() if name not in CHOICES}
    tags = others.get("tags") or {}
    if not chosen or not isinstance(tags, Mapping):
        return others
    if twice := chosen.keys() & tags.keys():
        raise TypeError(f"create_index() got {min(twice)!r} both as an argument and as a tag")
    return {**others, "tags": {**tags, **chosen}}
