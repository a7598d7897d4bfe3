"""Two threads for all that computes: alone with all cores, together with half of them each."""

from contextvars import ContextVar
from threading import Event, current_thread

import pytest
import torch

from tests.support.waiting import wait_until
from ui.serving.core_usage import HALF_LIFE, CoreUsage
from ui.serving.executor import NUM_WITH_ALL_CORES, CoreExecutor, work_for_addresses


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


def test_those_of_a_crowd_have_small_teams(cores):
    """So that a crowd leaves few threads behind; alone, the fifth of five has half of the cores."""
    leave = Event()
    released = [Event() for _ in range(NUM_WITH_ALL_CORES)]

    def wait_elsewhere(is_there):
        with cores.released():
            is_there.set()
            assert leave.wait(30)

    waiting = []
    for is_there in released:
        waiting.append(cores.submit(wait_elsewhere, is_there))
        assert is_there.wait(30)
    assert cores.run(about) == (f"cores {NUM_WITH_ALL_CORES}", 4)
    leave.set()
    for answer in waiting:
        answer.result(30)
    assert cores.run(about) == ("cores 0", 8)


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


def test_who_has_had_the_cores_for_long_waits_for_who_has_not(cores):
    """However many answers the one asks for; and who runs alone has all cores."""
    done, greedy_steps, entered = Event(), [], Event()

    def work_on(steps: list) -> None:
        while not done.is_set():
            cores.take_turns()
            steps.append(torch.get_num_threads())
            entered.set()

    with work_for_addresses(["greedy"]):
        cores._usage.add(["greedy"], 100)
        greedy = [cores.submit(work_on, greedy_steps) for _ in range(3)]
    assert entered.wait(30)
    modest_steps: list[int] = []
    with work_for_addresses(["modest"]):
        modest = cores.submit(work_on, modest_steps)
    wait_until(lambda: len(modest_steps) > 1)
    before = len(greedy_steps)
    many = len(modest_steps) + 1000
    wait_until(lambda: len(modest_steps) > many)
    assert len(greedy_steps) <= before + 3, "each of them may end the step that it was at"
    assert modest_steps[-1] == 8
    done.set()
    modest.result(30)
    assert [answer.result(30) for answer in greedy] == [None] * 3


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


def test_time_at_the_cores_fades_and_is_shared(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("ui.serving.core_usage.time.monotonic", lambda: now[0])
    usage = CoreUsage()
    usage.add(["a", "b"], 6)
    usage.add(["b"], 1)
    assert usage.get(["a"]) == 3 and usage.get(["b"]) == 4
    assert usage.get(["b", "a"]) == 3 and usage.get(["b", "c"]) == usage.get([]) == 0
    now[0] += HALF_LIFE
    assert usage.get(["b"]) == pytest.approx(2)
