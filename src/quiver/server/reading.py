"""The request headers that say how fresh a read has to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.model.errors import ValidationError
from quiver.service.reading import AS_SET, AT_LEAST, CONSISTENCY, Reading

if TYPE_CHECKING:
    from quiver.server.sigv4 import RequestParts

_CONSISTENCY, _AT_LEAST = CONSISTENCY.encode(), AT_LEAST.encode()


def read_reading(parts: RequestParts) -> Reading:
    """What they ask for. Raises ValidationError when one comes twice."""
    found: dict[bytes, str] = {}
    for name, value in parts.headers:
        if name in (_CONSISTENCY, _AT_LEAST):
            if name in found:
                raise ValidationError.at(name.decode(), f"{name.decode()} can be given once")
            found[name] = value.strip().decode("latin-1")
    return Reading(found.get(_CONSISTENCY), found.get(_AT_LEAST)) if found else AS_SET
