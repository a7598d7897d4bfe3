"""How much of something each address may have within an hour."""

import time
from collections import deque

SECONDS = 3600.0


class HourlyShare:
    """What each address took in the last hour."""

    def __init__(self, limit: int):
        self._limit = limit
        self._taken: dict[str, deque[tuple[float, int]]] = {}
        self._next_pruning = 0.0

    def take(self, address: str, amount: int) -> bool:
        """Whether the address may have so much now, which is counted then."""
        now = time.monotonic()
        self._prune(now)
        taken = self._taken.setdefault(address, deque())
        while taken and now - taken[0][0] > SECONDS:
            taken.popleft()
        if sum(size for _, size in taken) + amount > self._limit:
            return False
        if taken and now - taken[-1][0] < 1:  # pieces of a second are one
            start, size = taken.pop()
            taken.append((start, size + amount))
        else:
            taken.append((now, amount))
        return True

    def _prune(self, now: float) -> None:
        if now < self._next_pruning:
            return
        self._next_pruning = now + SECONDS
        gone = [a for a, t in self._taken.items() if not t or now - t[-1][0] > SECONDS]
        for address in gone:
            del self._taken[address]
