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


def test_a_long_answer_takes_turns_with_those_that_wait(cores):
    """Two answers that do not end are held up by a third no longer than by one of its steps."""
    done = Event()

    def work_on() -> int:
        steps = 0
        while not done.is_set():
            cores.take_turns()
            steps += 1
        return steps

    long = [cores.submit(work_on) for _ in range(2)]
    short = cores.submit(about)
    assert short.result(30)[1] == 4, "while both are there"
    done.set()
    assert all(answer.result(30) for answer in long)


def test_who_waits_for_something_else_leaves_the_cores_to_others(cores):
    entered, leave = Event(), Event()

    def wait_elsewhere() -> int:
        with cores.released():
            entered.set()
            assert leave.wait(30)
        return torch.get_num_threads()

    waiting = cores.submit(wait_elsewhere)
    assert entered.wait(30)
    assert cores.run(about)[1] == 8, "alone"
    leave.set()
    assert waiting.result(30) == 8
    with cores.released():
        pass  # in a thread that has no cores it is nothing


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
