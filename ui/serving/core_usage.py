"""How long each address has lately had the processor's cores."""

import time
from collections.abc import Collection

HALF_LIFE = 30.0  # seconds, after which half of it is forgotten
MAX_REMEMBERED = 10_000  # addresses


class CoreUsage:
    """Seconds at the cores, by address; they fade with time."""

    def __init__(self):
        self._used: dict[str, tuple[float, float]] = {}  # seconds, and when they were right

    def add(self, addresses: Collection[str], seconds: float) -> None:
        """Note time at the cores, which those that it was for share."""
        if len(self._used) > MAX_REMEMBERED:
            self._used.clear()
        for address in addresses:
            used = self._get_one(address) + seconds / len(addresses)
            self._used[address] = (used, time.monotonic())

    def get(self, addresses: Collection[str]) -> float:
        """The seconds of the one who has had least, 0 for nobody: who shares a batch with others
        must not hold them up."""
        return min(map(self._get_one, addresses), default=0.0)

    def _get_one(self, address: str) -> float:
        used, then = self._used.get(address, (0.0, 0.0))
        return used * 0.5 ** ((time.monotonic() - then) / HALF_LIFE)
