"""How visitors share the page's queue."""

import pytest

from ui.gradio_queue import QueuedJob
from ui.serving import shares
from ui.serving.shares import FairShares


def job(visitor: str, address: str = "here", size: int = 0) -> QueuedJob:
    return QueuedJob(address, visitor, "model", size)


def test_of_a_visitor_few_wait_and_others_still_may():
    waiting = [job("greedy", address=str(i)) for i in range(shares.MAX_WAITING_OF_VISITOR)]
    refusal = FairShares().find_refusal(job("greedy"), waiting)
    assert refusal == "5 of your requests wait already. Ask again after an answer."
    assert FairShares().find_refusal(job("other"), waiting) is None


def test_of_an_address_more_wait_whatever_its_visitors_call_themselves():
    waiting = [job(str(i)) for i in range(shares.MAX_WAITING_OF_ADDRESS)]
    assert "requests from your address" in FairShares().find_refusal(job("new"), waiting)
    assert FairShares().find_refusal(job("new", address="there"), waiting) is None


def test_photos_that_wait_in_memory_have_a_limit():
    half = shares.MAX_WAITING_BYTES // 2 + 1
    assert "wait in memory" in FairShares().find_refusal(job("b", size=half), [job("a", size=half)])
    assert FairShares().find_refusal(job("b", size=half), [job("a")]) is None


@pytest.mark.parametrize(
    "running, expected",
    [
        ([], 0),
        ([job("a", "1")], 1),  # one of a visitor runs
        ([job("x", "1"), job("y", "1")], 2),  # and half of all are of an address
    ],
)
def test_who_has_one_running_waits(running, expected):
    waiting = [job("a", "1"), job("b", "1"), job("c", "2")]
    assert FairShares().choose_next(waiting, running, limit=4) == expected


def test_nobody_begins_where_all_have_their_share():
    assert FairShares().choose_next([job("a")], [job("a", "there")], limit=4) is None
    assert FairShares().choose_next([job("a")], [job("b"), job("c")], limit=4) is None
    assert FairShares().choose_next([job("a")], [job("b")] * 9, limit=None) == 0


def test_addresses_and_their_visitors_have_turns():
    """An address that asks twenty times, as twenty visitors, delays another one's by one turn."""
    fair = FairShares()
    waiting = [job(f"a{i}", "loud") for i in range(20)] + [job("b", "quiet"), job("b", "quiet")]
    begun = []
    for _ in range(6):
        begun.append(waiting.pop(fair.choose_next(waiting, [], limit=1)).visitor)
    assert begun == ["a0", "b", "a1", "b", "a2", "a3"]
