"""How a request chooses the structure of an index: tags of CreateIndex, read once and kept as ordinary tags.

S3 Vectors has no parameter for it, and every client can send tags. They cannot change afterwards: segments are
built by what was chosen, and nodes that have the index open do not ask the catalog about it again.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from quiver.model.errors import FieldError, ValidationError
from quiver.model.structure import CODECS, MAX_RECALL, MIN_RECALL, PARTITIONERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quiver.model.types import IndexSpec

PREFIX = "quiver:"
CHOICES = ("partitioner", "codec", "recall")
"""What can be chosen: fields of `IndexSpec`, and names of tags after `PREFIX`."""

_NAMES = {"partitioner": PARTITIONERS, "codec": CODECS}
_DECIMAL = re.compile(r"[01](\.[0-9]+)?")


def choose(spec: IndexSpec, tags: Mapping[str, str]) -> IndexSpec:
    """The specification with what the tags choose; tags of other names do not matter.

    Raises: ValidationError: with every tag of our name space that is unknown or has an unusable value.
    """
    chosen: dict[str, Any] = {}
    faults: list[FieldError] = []
    for key, text in tags.items():
        if key.startswith(PREFIX):
            try:
                chosen[key.removeprefix(PREFIX)] = _value(key, text)
            except ValueError as error:
                faults.append(FieldError(f"tags.{key}", str(error)))
    if faults:
        raise ValidationError("; ".join(fault.message for fault in faults), *faults)
    return replace(spec, **chosen)


def refuse_change(paths: Mapping[str, str]) -> None:
    """Refuse to set or remove our tags on an index that exists.

    Args:
        paths: for each tag key of the request, the path that names it.

    Raises: ValidationError.
    """
    message = f"Tags that begin with {PREFIX} are fixed when the index is created"
    faults = [FieldError(path, message) for key, path in paths.items() if key.startswith(PREFIX)]
    if faults:
        raise ValidationError(message, *faults)


def _value(key: str, text: str) -> str | float:
    """The field's value. Raises ValueError with the text for the caller."""
    name = key.removeprefix(PREFIX)
    if name == "recall":
        if not _DECIMAL.fullmatch(text) or not MIN_RECALL <= float(text) <= MAX_RECALL:
            raise ValueError(f"{key} must be a number from {MIN_RECALL:g} to {MAX_RECALL:g}")
        return float(text)
    if name not in _NAMES:
        known = ", ".join(PREFIX + choice for choice in CHOICES)
        raise ValueError(f"{key} is not one of the tags that choose an index structure: {known}")
    if text not in _NAMES[name]:
        raise ValueError(f"{key} must be one of {', '.join(_NAMES[name])}")
    return text
