"""Which tags a request may set, beyond the shape of keys and values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.model.errors import ValidationError
from quiver.service.operations import MAX_TAGS, TOO_MANY_TAGS

if TYPE_CHECKING:
    from collections.abc import Mapping

_SYSTEM_PREFIX = "aws:"


def check_tags(tags: Mapping[str, str]) -> None:
    """Check tags whose characters and lengths were validated.

    Raises: ValidationError: more than 50, or a key in the name space of system tags.
    """
    if len(tags) > MAX_TAGS:
        raise ValidationError(TOO_MANY_TAGS)
    for key in tags:
        if key.startswith(_SYSTEM_PREFIX):
            raise ValidationError("System tags cannot be added/updated by requester")
        if key.lower().startswith(_SYSTEM_PREFIX):
            raise ValidationError(f'Invalid System Tag: {key} must be prefixed with "aws:" in lowercase.')
