"""Who reads answers: work is done for those alone."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

SECONDS_UNREAD = 30.0  # a program may ask first and fetch the answer a little later
SECONDS_REMEMBERED = 3600.0


class Readers:
    """The streams of answers that are open, and when each was seen last.

    A stream has the name of a session, or of the one request whose answer it carries.
    """

    def __init__(self):
        self._open: Counter[str] = Counter()
        self._last_seen: dict[str, float] = {}
        self._lock = Lock()

    @contextmanager
    def reading(self, name: str) -> Iterator[None]:
        """While a stream of this name is open."""
        with self._lock:
            self._open[name] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[name] -= 1
                if not self._open[name]:
                    del self._open[name]
                self._last_seen[name] = time.monotonic()

    def is_read(self, *names: str) -> bool:
        """Whether one of these is open, or was in the last `SECONDS_UNREAD`; the first question
        about a name counts as if it were."""
        now = time.monotonic()
        with self._lock:
            if any(name in self._open for name in names):
                return True
            last_seen = max(self._last_seen.setdefault(name, now) for name in names)
        return now - last_seen < SECONDS_UNREAD

    def forget(self) -> None:
        """Forget the names that were last seen long ago."""
        now = time.monotonic()
        with self._lock:
            for name, last_seen in list(self._last_seen.items()):
                if now - last_seen > SECONDS_REMEMBERED:
                    del self._last_seen[name]


READERS = Readers()
