"""Who calls an operation, and from where."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from quiver.service.policy.principals import Principal


class Caller(NamedTuple):
    """A principal who proved to be it, on one connection.

    Attributes:
        principal: who.
        source_ip: the address at the other end of the connection; None when it is not known.
        secure: whether the connection is encrypted as far as this process.
    """

    principal: Principal
    source_ip: str | None = None
    secure: bool = False
