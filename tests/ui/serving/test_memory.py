"""What was freed in pieces goes back to the machine."""

import psutil
import pytest

from ui.serving import memory

PIECE = 64 * 2**10  # bytes: so many that `malloc` keeps them, with others in one heap
NUM_PIECES = 3000


def test_free_memory_is_given_back():
    if memory._TRIM is None:
        pytest.skip("another C library than GNU's")
    process = psutil.Process()
    pieces = [bytearray(PIECE) for _ in range(NUM_PIECES)]
    last = bytearray(PIECE)  # above what is freed, which so cannot be cut off at its end
    pieces.clear()
    memory.return_free_memory()
    low = process.memory_info().rss
    pieces += [bytearray(b"x") * PIECE for _ in range(NUM_PIECES)]
    assert process.memory_info().rss - low > PIECE * NUM_PIECES / 2
    last = (last, bytearray(PIECE))
    pieces.clear()
    memory.return_free_memory()
    assert process.memory_info().rss - low < PIECE * NUM_PIECES / 4


def test_where_it_cannot_be_nothing_happens(monkeypatch):
    monkeypatch.setattr(memory, "_TRIM", None)
    memory.return_free_memory()
