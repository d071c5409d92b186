"""A root in a directory that is read like a remote one."""

from __future__ import annotations

from quiver.objectstore.local import LocalStore


class DistantDirectory(LocalStore):
    """Through the caches."""

    resident = False
