"""Work is done for those who read its answers."""

import pytest

from ui.serving import readers
from ui.serving.readers import SECONDS_UNREAD, Readers


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(readers.time, "monotonic", lambda: now[0])
    return now


def test_a_stream_is_read_while_it_is_open_and_a_little_longer(clock):
    streams = Readers()
    with streams.reading("session"):
        clock[0] += 10 * SECONDS_UNREAD
        assert streams.is_read("session", "request")
    clock[0] += SECONDS_UNREAD - 1
    assert streams.is_read("session", "request")
    clock[0] += 2
    assert not streams.is_read("session")


def test_one_that_nobody_came_for_counts_from_the_first_question(clock):
    streams = Readers()
    assert streams.is_read("session", "request")
    clock[0] += SECONDS_UNREAD + 1
    assert not streams.is_read("session", "request")
    with streams.reading("request"):
        assert streams.is_read("session", "request")


def test_names_are_forgotten(clock):
    streams = Readers()
    streams.is_read("old")
    clock[0] += readers.SECONDS_REMEMBERED + 1
    streams.is_read("new")
    streams.forget()
    assert list(streams._last_seen) == ["new"]
