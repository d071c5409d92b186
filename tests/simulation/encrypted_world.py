"""A simulated world whose nodes encrypt: the nodes share a backing of ciphertext, the judges read what it means.

`World.backing` mirrors it in plaintext. The data keys are made and found by the nodes under the same faults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quiver.format import paths
from quiver.objectstore.encryption import wrapped_keys
from quiver.objectstore.encryption.chunks import Ciphers
from quiver.objectstore.encryption.encrypting_store import EncryptingStore, _open
from quiver.objectstore.encryption.file_provider import FileKeyProvider
from quiver.objectstore.encryption.index_keys import IndexKeys
from quiver.objectstore.encryption.key_file import KeyFile
from quiver.objectstore.encryption.layout import DataKey, read_header
from quiver.objectstore.encryption.root_keys import PREFIX, RootKeys
from simulation.store import Backing, SimulatedStore
from simulation.world import Node, World

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from simulation.faults import Faults

MASTER = "00000000-0000-0000-0000-000000000001"
KEYS = KeyFile(MASTER, {MASTER: bytes(range(32))})


class SealedBacking(Backing):
    """What is stored. Whatever comes to exist or goes does so in the mirror, too."""

    def __init__(self, mirror: Backing) -> None:
        super().__init__(mirror.loop, mirror.random, mirror.faults, mirror.events)
        self.clock_offset = mirror.clock_offset
        self.resident = mirror.resident  # then the nodes' stores are near, though what is in them is not at hand
        self._mirror = mirror
        self._data_keys: dict[str, DataKey] = {}
        self._ciphers = Ciphers()

    @property
    def faults(self) -> Faults:
        return self._mirror.faults if hasattr(self, "_mirror") else self._first_faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._first_faults = faults

    def create(self, key: str, body: bytes) -> bool:
        if not super().create(key, body):
            return False
        if key.startswith(PREFIX):
            record = wrapped_keys.decode(key, body)
            provider = FileKeyProvider(KEYS, None)  # type: ignore[arg-type] - unwrapping needs no runtime
            secret = outcome(provider.unwrap(record.master, record.wrapped, record.context))
            self._data_keys[record.id] = DataKey(bytes.fromhex(record.id), secret)
        else:
            assert self._mirror.create(key, self._opened(key, body))
        return True

    def remove(self, key: str) -> None:
        super().remove(key)
        self._mirror.remove(key)

    def _opened(self, key: str, body: bytes) -> bytes:
        header = read_header(key, memoryview(body))
        # A data key is there before the first object under it.
        cipher = self._ciphers.of(self._data_keys[header.key_id.hex()], header.salt)
        return bytes(_open(cipher, key, header, 0, memoryview(body), ends=True))


def outcome(work: Coroutine[Any, Any, bytes]) -> bytes:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


class EncryptedWorld(World):
    """Nodes reach their data through encrypting stores with the same key file."""

    def __init__(self, seed: int, faults: Faults | None = None) -> None:
        super().__init__(seed, faults)
        self.sealed = SealedBacking(self.backing)

    def start_node(self) -> Node:
        node = super().start_node()
        node.store = SimulatedEncryptingStore(self, node)  # type: ignore[assignment]
        return node


class SimulatedEncryptingStore(EncryptingStore):
    """One node's."""

    def __init__(self, world: EncryptedWorld, node: Node) -> None:
        self._wire = SimulatedStore(world.sealed, node.process)
        provider = FileKeyProvider(KEYS, node.runtime)
        root_keys = RootKeys(self._wire, KEYS, provider, node.runtime)
        index_keys = IndexKeys(self._wire, provider, node.runtime, paths.index_of, paths.index_key_name)
        super().__init__(self._wire, root_keys, index_keys, node.runtime)

    @property
    def unreachable_until(self) -> float:
        return self._wire.unreachable_until

    @unreachable_until.setter
    def unreachable_until(self, time: float) -> None:
        self._wire.unreachable_until = time
