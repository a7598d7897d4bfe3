"""Captions of visitors who ask at the same time: each gets the one of its own photo."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Semaphore

import pytest

from tests.support.tiny import draw_photo, tiny_captioner
from ui.serving.batching import BATCH_SIZE, CaptionBatcher
from ui.serving.cancellation import RequestCancelled, TimeLimitExceeded, Visitor

PHOTOS = [draw_photo(colour=(i * 20, 255 - i * 20, 90)) for i in range(12)]


@pytest.fixture(scope="module")
def captioner():
    return tiny_captioner()


class Gate:
    """Holds up the first batches, so that others gather behind them; notes all batches."""

    def __init__(self, captioner, monkeypatch):
        self.open, self.entered, self.sizes = Event(), Semaphore(0), []
        write = captioner.captions

        def captions(photos, **options):
            self.sizes.append(len(photos))
            self.entered.release()
            assert self.open.wait(60)
            return write(photos, **options)

        monkeypatch.setattr(captioner, "captions", captions)


def ask_all(together, captioner, gate, photos, visitors=None, options=None):
    """Two that are held up, then all the others behind them; their captions or troubles."""
    visitors = visitors or [Visitor() for _ in photos]
    options = options or [{}] * len(photos)

    def ask(photo, visitor, chosen):
        try:
            return together.caption(captioner, photo, visitor, **chosen).text
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(photos)) as pool:
        asked = []
        for i, of_one in enumerate(zip(photos, visitors, options, strict=True)):
            asked.append(pool.submit(ask, *of_one))
            if i < 2:
                assert gate.entered.acquire(timeout=60)
            else:
                while together.count_waiting() < i - 1:
                    time.sleep(0.001)
        gate.open.set()
        return [answer.result(60) for answer in asked]


def test_everyone_gets_their_own_caption_in_batches(captioner, monkeypatch):
    expected = [captioner.caption(photo).text for photo in PHOTOS]
    assert len(set(expected)) > 3
    gate = Gate(captioner, monkeypatch)
    assert ask_all(CaptionBatcher(), captioner, gate, PHOTOS) == expected
    assert sorted(gate.sizes) == [1, 1, len(PHOTOS) - 2 - BATCH_SIZE, BATCH_SIZE]


def test_batches_are_of_equal_wishes(captioner, monkeypatch):
    options = [{}, {}, *[{"num_beams": 1}, {"num_beams": 2}] * 2]
    expected = [captioner.caption(p, **o).text for p, o in zip(PHOTOS, options, strict=False)]
    gate = Gate(captioner, monkeypatch)
    told = ask_all(CaptionBatcher(), captioner, gate, PHOTOS[:6], options=options)
    assert told == expected and gate.sizes == [1, 1, 2, 2]


def test_one_in_trouble_is_the_only_one(captioner, monkeypatch):
    expected = [captioner.caption(photo).text for photo in PHOTOS[:4]]
    gate = Gate(captioner, monkeypatch)
    write = captioner.captions

    def captions(photos, **options):
        if PHOTOS[2] in photos:
            raise RuntimeError("broken")
        return write(photos, **options)

    monkeypatch.setattr(captioner, "captions", captions)
    told = ask_all(CaptionBatcher(), captioner, gate, PHOTOS[:4])
    assert [told[0], told[1], told[3]] == [*expected[:2], expected[3]]
    assert isinstance(told[2], RuntimeError)


def test_who_has_left_is_left_out(captioner, monkeypatch):
    gate = Gate(captioner, monkeypatch)
    visitors = [Visitor() for _ in range(5)]
    monkeypatch.setattr(visitors[2], "stop_reason", RequestCancelled)
    monkeypatch.setattr(visitors[4], "stop_reason", lambda: TimeLimitExceeded(60))
    told = ask_all(CaptionBatcher(), captioner, gate, PHOTOS[:5], visitors)
    assert isinstance(told[2], RequestCancelled) and isinstance(told[4], TimeLimitExceeded)
    assert gate.sizes == [1, 1, 1] and isinstance(told[3], str)


def test_a_batch_that_nobody_waits_for_stops(captioner, monkeypatch):
    steps = []

    class Leaving(Visitor):
        def stop_reason(self):
            steps.append(1)
            return RequestCancelled() if len(steps) > 5 else None

    with pytest.raises(RequestCancelled):
        CaptionBatcher().caption(captioner, PHOTOS[0], Leaving())
    # before the batch, after four tokens, and once more when it is looked at alone
    assert 5 < len(steps) < 9


def test_a_wish_that_cannot_be_is_no_batch(captioner):
    with pytest.raises(ValueError, match="num_beams must be"):
        CaptionBatcher().caption(captioner, PHOTOS[0], Visitor(), num_beams=-1)


def test_a_panic_is_an_answer_too(captioner, monkeypatch):
    """Rust's panics in tokenizers are no Exception."""

    def panic(photos, **options):
        raise BaseException("panicked")

    monkeypatch.setattr(captioner, "captions", panic)
    with pytest.raises(RuntimeError, match="panicked"):
        CaptionBatcher().caption(captioner, PHOTOS[0], Visitor())
