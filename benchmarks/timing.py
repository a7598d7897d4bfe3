"""Measuring in turns, and how results are told: as rows of one table."""

import statistics
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple


class Row(NamedTuple):
    """One result. `ratio` is to the row that `beside` names, both measured in turns."""

    part: str
    what: str
    value: float
    unit: str
    ratio: float | None = None
    beside: str = ""


def measure_seconds(work: Callable[[], object]) -> float:
    """Seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def time_in_turns(works: dict[str, Callable[[], object]], rounds: int = 7) -> dict[str, float]:
    """The median seconds of each, after one run to warm up, one of each in turn."""
    for work in works.values():
        work()
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            taken[name].append(measure_seconds(work))
    return {name: statistics.median(times) for name, times in taken.items()}


def print_rows(rows: Iterable[Row]) -> list[Row]:
    """Print rows as they come; gives them as a list."""
    printed_rows, part = [], None
    for row in rows:
        if row.part != part:
            part = row.part
            print(f"\n{part}", flush=True)
        ratio = "" if row.ratio is None else f"{row.ratio:8.2f} × {row.beside}"
        print(f"  {row.what:46}{row.value:10.3g} {row.unit:12}{ratio}", flush=True)
        printed_rows.append(row)
    return printed_rows
