"""Two threads for all that computes: alone with all cores, together with half of them each."""

from contextvars import ContextVar
from threading import Event, current_thread

import pytest
import torch

from ui.serving.executor import CoreExecutor


@pytest.fixture
def cores():
    """Of a machine with eight."""
    before = torch.get_num_threads()
    torch.set_num_threads(8)
    yield CoreExecutor()
    torch.set_num_threads(before)


def about() -> tuple[str, int]:
    return current_thread().name, torch.get_num_threads()


def test_alone_it_is_always_the_same_thread_with_all_cores(cores):
    assert {cores.run(about) for _ in range(20)} == {("cores 0", 8)}


def test_two_at_once_have_half_each_and_a_third_waits(cores):
    entered, leave = Event(), Event()

    def stay():
        entered.set()
        assert leave.wait(30)

    held = cores.submit(stay)
    assert entered.wait(30)
    assert cores.run(about) == ("cores 1", 4)
    entered.clear()
    also_held = cores.submit(stay)
    assert entered.wait(30)
    third = cores.submit(about)
    assert not third.done()
    leave.set()
    held.result(30), also_held.result(30)
    assert third.result(30)[0].startswith("cores")


def test_what_it_returns_raises_and_knows(cores):
    mine = ContextVar("mine")
    mine.set("caller")
    assert cores.run(lambda a, b: (a, b, mine.get()), 1, b=2) == (1, 2, "caller")
    with pytest.raises(ZeroDivisionError):
        cores.run(lambda: 1 / 0)
    with pytest.raises(RuntimeError, match="panicked"):
        cores.run(panic)
    assert cores.run(about)[0] == "cores 0", "it goes on after an error"


def panic():
    raise BaseException("panicked")
