"""Photos that end the process that captions them: found, and given up in the end."""

from collections import Counter

MAX_ATTEMPTS_ALONE = 2  # for a photo that was in a process when that ended


class Attempts:
    """Knows which photos a worker has begun and not finished, as its process may end before that.

    Ray would give such photos to a new process again and again.
    """

    def __init__(self) -> None:
        self._begun: set[str] = set()
        self._times_alone: Counter[str] = Counter()

    def begin_batch(self, names: list[str]) -> bool:
        """Whether these may be captioned together; if not, one of them has ended a process."""
        are_new = self._begun.isdisjoint(names)
        self._begun.update(names)
        return are_new

    def begin_alone(self, name: str) -> bool:
        """Whether a photo may be captioned at all: not after it has ended two processes alone."""
        self._times_alone[name] += 1
        return self._times_alone[name] <= MAX_ATTEMPTS_ALONE

    def finish(self, names: list[str]) -> None:
        """These were captioned, or are errors, and have ended no process."""
        self._begun.difference_update(names)
        for name in names:
            self._times_alone.pop(name, None)
