"""What the cluster tests share: a moto server in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.processes import Moto

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    with Moto() as running:
        yield running
