"""Whatever a store can be asked, a wrapper passes on, also what has a default in the contract."""

from __future__ import annotations

import inspect

from quiver.objectstore.forwarding_store import ForwardingStore
from quiver.objectstore.store import ObjectStore


def _members(kind: type) -> set[str]:
    return {
        name for name, member in vars(kind).items() if inspect.isfunction(member) or isinstance(member, property)
    }


def test_every_method_of_the_contract_is_passed_on():
    assert _members(ObjectStore) <= _members(ForwardingStore)


def test_attributes_are_those_of_the_inner_store():
    class Inner(ForwardingStore):
        near = True

        def __init__(self) -> None:
            self.url, self.resident, self.large_bytes = "memory://forwarded", True, 7

    wrapper = ForwardingStore(Inner())
    assert (wrapper.url, wrapper.resident, wrapper.large_bytes, wrapper.near) == (
        "memory://forwarded",
        True,
        7,
        True,
    )
