"""The third use of cross-attention: text that queries a memory of remembered captions."""

from model.memory.memory import Memory, RememberedPhoto

__all__ = ["Memory", "RememberedPhoto"]
