"""Page tokens: what was not sealed here is refused, and sealed content of any kind is read or refused."""

from __future__ import annotations

import msgspec

from quiver.engine.engine import ListPosition
from quiver.model.errors import ValidationError
from quiver.model.runtime import SystemRuntime
from quiver.service.page_tokens import QUERY_LIFETIME, PageTokens, Scope, _to_text
from quiver.service.query_operation import _Place

SCOPE = Scope("QueryVectors", "0" * 32, b"digest")


class _Standing(SystemRuntime):
    def time(self) -> float:
        return 1_790_000_000.0


TOKENS = PageTokens(bytes(range(32)), _Standing(threads=1))
KINDS: list[type] = [ListPosition, _Place, str]
GENUINE = {
    TOKENS.seal(SCOPE, place) for place in (ListPosition(2**63, "key"), _Place(0.5, "k\u00e9y", 100), "name")
}
SEEDS = [b"t" + token.encode() for token in sorted(GENUINE)] + [
    b"c" + msgspec.msgpack.encode((1, 1_790_000_000, place))
    for place in (ListPosition(2**63, "key"), _Place(0.5, "k\u00e9y", 100), "name")
]


def run(data: bytes) -> None:
    """After `t` a token as received; after `c` content that is sealed first, as only this deployment can."""
    text = data[1:].decode("utf-8", "replace")
    if data[:1] == b"c":
        text = _to_text(TOKENS._seal_of(SCOPE, data[1:]) + data[1:])
    for kind in KINDS:
        try:
            TOKENS.open(SCOPE, text, kind, QUERY_LIFETIME)
        except ValidationError:
            continue
        assert data[:1] == b"c" or text in GENUINE, "a token that nobody sealed"
