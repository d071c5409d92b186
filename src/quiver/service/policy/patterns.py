"""Patterns of policies: text with the wildcards `*` and `?` and with variables such as `${aws:username}`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from quiver.service.policy.errors import PolicyError

Context: TypeAlias = Mapping[str, tuple[str, ...]]
"""What a request says of itself: values by condition key. Keys are in lower case, as their case means nothing."""

_VARIABLE = re.compile(r"\$\{(?:([*?$])|([\w-]+:[^{}'\",]+?)\s*(?:,\s*'([^']*)')?)\}")
_WILDCARDS = re.compile(r"([*?])")
_ARN_COLONS = 5
"""Colons before the last part of an ARN, which may hold more of them."""


class Variable(NamedTuple):
    """A place that a value of the request takes; without one the default, and without that nothing matches."""

    key: str
    default: str | None


class Wildcard(Enum):
    """What stands for other text."""

    ANY = "*"
    ONE = "?"


Piece: TypeAlias = "str | Variable | Wildcard"


class Pattern:
    """One pattern, compiled. Matching takes at most the lengths of pattern and text multiplied, whatever they are.

    Args:
        text: as the policy has it.
        wildcards: whether `*` and `?` stand for other text.
        variables: whether `${...}` does.
        arn: wildcards do not reach past a colon before the last part, as in ARNs.
        fold: upper and lower case are the same.

    Attributes:
        varies: it has variables.

    Raises:
        PolicyError: a variable that is none.
    """

    __slots__ = ("_arn", "_fixed", "_fold", "_tokens", "varies")

    def __init__(
        self, text: str, *, wildcards: bool = True, variables: bool = False, arn: bool = False, fold: bool = False
    ) -> None:
        self._arn = arn
        self._fold = fold
        self._tokens = _tokens(text, wildcards, variables)
        self.varies = any(isinstance(token, Variable) for token in self._tokens)
        self._fixed = None if self.varies else self._compile(_fill(self._tokens, {}) or [])

    def matches(self, value: str, context: Context) -> bool:
        """Whether the whole of `value` fits, with variables taken from `context`."""
        fixed = self._fixed
        if fixed is None:
            filled = _fill(self._tokens, context)
            if filled is None:
                return False
            fixed = self._compile(filled)
        return fixed.fullmatch(value.lower() if self._fold else value) is not None

    def is_filled(self, context: Context) -> bool:
        """Whether `context` has a value for every variable."""
        return not self.varies or _fill(self._tokens, context) is not None

    def _compile(self, tokens: list[str | Wildcard]) -> re.Pattern[str]:
        if self._fold:
            tokens = [token.lower() if isinstance(token, str) else token for token in tokens]
        return _compiled(tuple(tokens), self._arn)


@lru_cache(maxsize=1024)
def _compiled(tokens: tuple[str | Wildcard, ...], arn: bool) -> re.Pattern[str]:
    return re.compile(_expression(tokens, arn=arn), re.DOTALL)


def _tokens(text: str, wildcards: bool, variables: bool) -> list[Piece]:
    if not variables:
        return list(_literals(text, wildcards))
    tokens: list[Piece] = []
    end = 0
    for match in _VARIABLE.finditer(text):
        tokens += _literals(_without_variables(text[end : match.start()]), wildcards)
        escaped, key, default = match.groups()
        tokens.append(escaped or Variable(key.lower(), default))
        end = match.end()
    return tokens + _literals(_without_variables(text[end:]), wildcards)


def _without_variables(text: str) -> str:
    if "${" in text:
        raise PolicyError("a policy variable has the form ${key} or ${key, 'default'}")
    return text


def _literals(text: str, wildcards: bool) -> list[Piece]:
    pieces = _WILDCARDS.split(text) if wildcards else [text]
    return [Wildcard(piece) if wildcards and piece in ("*", "?") else piece for piece in pieces if piece]


def _fill(tokens: list[Piece], context: Context) -> list[str | Wildcard] | None:
    """The tokens with variables replaced, by text that means itself; None when one has no single value."""
    filled: list[str | Wildcard] = []
    for token in tokens:
        if not isinstance(token, Variable):
            filled.append(token)
            continue
        values = context.get(token.key, ())
        value = values[0] if len(values) == 1 else token.default if not values else None
        if value is None:
            return None
        filled.append(value)
    return filled


def _expression(tokens: Sequence[str | Wildcard], *, arn: bool) -> str:
    """A regular expression that never goes back over a `*`: the leftmost place of what follows will do.

    So one `*` after another costs their sum and not their product.
    """
    parts: list[str] = []
    opened = False  # an atomic group that began with a `*`
    colons = 0
    for token in tokens:
        one = "[^:]" if arn and colons < _ARN_COLONS else "."
        if token is Wildcard.ANY:
            parts.append((")" if opened else "") + f"(?>{one}*?")
            opened = True
        elif token is Wildcard.ONE:
            parts.append(one)
        elif isinstance(token, str):
            parts.append(re.escape(token))
            colons += token.count(":")
    if opened:  # the last `*` reaches as far as the end of the text allows
        last = max(place for place, part in enumerate(parts) if "(?>" in part)
        parts[last] = parts[last].replace("(?>", "(?:").replace("*?", "*")
        parts.append(")")
    return "".join(parts)
