"""The contract on the library: the same calls without HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import quiver
from api.contract import ApiContract

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with quiver.client("memory:") as client:
        yield client


class TestLibrary(ApiContract):
    """Everything."""
