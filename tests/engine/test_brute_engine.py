"""The contract on the engine of dictionaries that other floors test with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.conditional_contract import ConditionalContract
from engine.contract import EngineContract, Nodes
from service.brute_engine import BruteEngine

if TYPE_CHECKING:
    from pathlib import Path

    from quiver.engine.engine import Engine


class BruteNodes(Nodes):
    def __init__(self) -> None:
        super().__init__()
        self._shelf = {}

    def new_engine(self) -> Engine:
        return BruteEngine(self._shelf)


class TestBruteEngine(EngineContract, ConditionalContract):
    def new_nodes(self, tmp_path: Path) -> Nodes:
        return BruteNodes()
