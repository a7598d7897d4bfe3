"""How visitors share the page: a few requests each, one at a time, and everyone in turn.

A visitor is a session: a page in a browser, or a program. As a program may call itself by any
number of names, an address has its share too; it is a large one, as a school may have one address.
"""

from collections import Counter
from collections.abc import Sequence

from ui.gradio_queue import QueuedJob, Shares

MAX_WAITING = 128  # of all visitors
MAX_WAITING_OF_VISITOR = 5
MAX_WAITING_OF_ADDRESS = 32
MAX_WAITING_BYTES = 128 * 2**20  # photos in addresses (data:) that wait in memory, of all visitors
MAX_REMEMBERED = 10_000  # visitors whose last turn is known


class FairShares(Shares):
    """Of a visitor few requests wait and one of a group runs; of an address half of a group run.

    Of those that wait, the one begins whose address, and then whose visitor, had its last turn
    longest ago.
    """

    def __init__(self):
        self._turn = 0
        self._last_turns: dict[str, int] = {}  # of addresses and visitors

    def find_refusal(self, job: QueuedJob, waiting: Sequence[QueuedJob]) -> str | None:
        """See `Shares`."""
        of_visitor = sum(other.visitor == job.visitor for other in waiting)
        if of_visitor >= MAX_WAITING_OF_VISITOR:
            return f"{of_visitor} of your requests wait already. Ask again after an answer."
        of_address = sum(other.address == job.address for other in waiting)
        if of_address >= MAX_WAITING_OF_ADDRESS:
            return f"{of_address} requests from your address wait already. Try again in a minute."
        if job.size and job.size + sum(other.size for other in waiting) > MAX_WAITING_BYTES:
            return "Too many photos wait in memory. Upload yours as a file, or try again later."
        return None

    def choose_next(
        self, waiting: Sequence[QueuedJob], running: Sequence[QueuedJob], limit: int | None
    ) -> int | None:
        """See `Shares`."""
        of_address = Counter(job.address for job in running)
        busy_visitors = {job.visitor for job in running}
        free = [
            index
            for index, job in enumerate(waiting)
            if job.visitor not in busy_visitors
            and (limit is None or of_address[job.address] < max(1, limit // 2))
        ]
        if not free:
            return None
        index = min(free, key=lambda index: self._find_rank(waiting[index]))
        self._remember_turn(waiting[index])
        return index

    def _find_rank(self, job: QueuedJob) -> tuple[int, int]:
        return self._last_turns.get(job.address, 0), self._last_turns.get(job.visitor, 0)

    def _remember_turn(self, job: QueuedJob) -> None:
        if len(self._last_turns) > MAX_REMEMBERED:
            self._last_turns.clear()
        self._turn += 1
        self._last_turns[job.address] = self._last_turns[job.visitor] = self._turn
