"""LanceDB over a table that was built before, in an object store; for reading only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import lancedb

from benchmarks.contenders.lance import LanceIvfPq

if TYPE_CHECKING:
    from benchmarks.datasets import Dataset


class LanceNode(LanceIvfPq):
    """A table opened by its URL."""

    def __init__(self, data: Dataset, url: str) -> None:
        super().__init__(data, Path())
        self._url, _, options = url.partition("?")
        self._options = {"aws_endpoint": options.removeprefix("endpoint="), "allow_http": "true"}

    def _database(self) -> Any:
        return lancedb.connect(self._url, storage_options=self._options)

    def counts(self) -> dict[str, int]:
        """Nothing is known of its caches."""
        return {}
