"""How much room a memory takes in a process is known from its files."""

import subprocess
import sys

import pytest
import torch

from model.memory import Memory, RememberedPhoto
from model.memory.files import estimate_loaded_bytes

NUM_PHOTOS, WIDTH = 60_000, 512
LOAD_AND_SEARCH = f"""
import sys, psutil, torch
from model.memory import Memory
before = psutil.Process().memory_info().rss
memory = Memory.load(sys.argv[1])
memory.nearest(torch.ones(1, {WIDTH}))
print(psutil.Process().memory_info().rss - before)
"""


@pytest.mark.slow
def test_a_process_takes_what_was_estimated(tmp_path):
    pytest.importorskip("psutil")
    features = torch.randn(NUM_PHOTOS, WIDTH, generator=torch.Generator().manual_seed(0)).half()
    captions = tuple(f"A man in a blue shirt climbs rock number {i}." for i in range(5))
    entries = tuple(RememberedPhoto(f"{i}.jpg", captions) for i in range(NUM_PHOTOS))
    Memory(entries, features, "any", "any").save(tmp_path)
    program = [sys.executable, "-c", LOAD_AND_SEARCH, tmp_path]
    taken = int(subprocess.run(program, capture_output=True, check=True).stdout)
    assert estimate_loaded_bytes(tmp_path) / 2 < taken <= estimate_loaded_bytes(tmp_path)
