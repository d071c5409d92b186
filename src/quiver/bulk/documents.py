"""Metadata as they stand in files: values of columns, or dictionaries with NumPy in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def plain(value: Any) -> Any:
    """A value as parsed JSON would have it: without NumPy arrays and scalars, tuples, and mappings but dict."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def named(origin: str, message: str) -> str:
    """A message with the name of what it is about."""
    return f"{origin}: {message}" if origin else message


def from_columns(names: Sequence[str], columns: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Documents from columns of equal length; a value of None leaves its field out."""
    return [
        {name: value for name, value in zip(names, row, strict=True) if value is not None}
        for row in zip(*columns, strict=True)
    ]
