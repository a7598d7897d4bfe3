"""Memory that is free again goes back to the machine.

C's `malloc` keeps what many threads freed, in pieces; after an hour of visitors with all kinds of
requests that can be as much as the page needs.
"""

import ctypes
from collections.abc import Callable


def _find_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library than GNU's
        return None


_TRIM = _find_trim()


def return_free_memory() -> None:
    """Give free memory back, where the C library can."""
    if _TRIM is not None:
        _TRIM(0)
