"""A short run of every fuzz target: seeds, noise and seeded mutations. `campaign.py` makes long ones."""

from __future__ import annotations

import importlib
import random
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.campaign import TARGETS
from fuzz.mutations import havoc

INPUTS = 1000
OF_SLOW_ONES = {"segment_index": 60, "cache_file": 150, "columns": 150, "rows_parquet": 200, "arrow_stream": 400}


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_survives_its_seeds_and_what_becomes_of_them(name: str) -> None:
    target, chance = importlib.import_module(f"fuzz.targets.{name}"), random.Random(name)
    inputs = [*target.SEEDS, b"", b"\0" * 100, chance.randbytes(1000)]
    inputs += (havoc(target.SEEDS, chance) for _ in range(OF_SLOW_ONES.get(name, INPUTS)))
    for data in inputs:
        try:
            target.run(data)
        except Exception as error:
            raise AssertionError(f"{name} failed on {data.hex()}") from error


def test_there_is_a_target_for_every_decoder_of_what_others_wrote() -> None:
    assert {
        "arrow_stream", "cache_file", "checkpoint", "columns", "encrypted_object", "envelope", "filters",
        "json_lines", "log_entry", "opening", "page_tokens", "policies", "request_decoder", "rows", "rows_parquet",
        "segment_index", "signature", "store_format", "text_postings",
    } <= set(TARGETS)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("options", [["--plain"], []], ids=["plain", "guided"])
def test_a_campaign_counts_its_inputs_and_looks_at_memory(options: list[str]) -> None:
    if not options:
        pytest.importorskip("atheris")
    script = Path(__file__).with_name("campaign.py")
    command = [sys.executable, str(script), "opening", "--inputs", "2000", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "opening: 2000 inputs in" in done.stdout
    assert "MiB at the end" in done.stdout
