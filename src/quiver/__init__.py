"""Quiver: Amazon S3 Vectors on storage you own.

`connect(url)` is the Pythonic face, `client(url)` has the methods of boto3's `s3vectors` client; both have
asynchronous twins, as has `copy(source, target)`, which copies a whole root. Everything is loaded on first use, so
that importing this package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quiver.library.copying import async_copy, copy
    from quiver.library.errors import ClientError
    from quiver.library.opening import async_client, async_connect, client, connect
    from quiver.model import errors

_WHERE = {
    "async_client": ("quiver.library.opening", "async_client"),
    "async_connect": ("quiver.library.opening", "async_connect"),
    "async_copy": ("quiver.library.copying", "async_copy"),
    "client": ("quiver.library.opening", "client"),
    "connect": ("quiver.library.opening", "connect"),
    "copy": ("quiver.library.copying", "copy"),
    "ClientError": ("quiver.library.errors", "ClientError"),
    "errors": ("quiver.model.errors", None),
}

__all__ = ["async_client", "async_connect", "async_copy", "client", "connect", "copy", "ClientError", "errors"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'quiver' has no attribute {name!r}")
    module, attribute = _WHERE[name]
    found = importlib.import_module(module)
    value = found if attribute is None else getattr(found, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
