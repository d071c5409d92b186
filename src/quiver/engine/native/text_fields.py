"""Changes of text fields that were refused, as the errors of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiver.engine.engine import TextFieldConflictError, TooManyTextFieldsError, UnknownTextFieldError
from quiver.engine.native.state import CONFIGURED, UNKNOWN

if TYPE_CHECKING:
    from quiver.model.errors import RequestError


def refusal(name: str, key: str) -> RequestError:
    """The error for what `IndexState` answered to a change of text fields."""
    if name == UNKNOWN:
        return UnknownTextFieldError(key)
    return TextFieldConflictError(key) if name == CONFIGURED else TooManyTextFieldsError()
