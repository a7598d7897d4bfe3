"""Which photo comes when, where several corpora are learned from together."""

from collections import Counter

import pytest

from training.data.schedule import PhotoSchedule


def list_epoch(schedule, epoch):
    return [schedule.find_photo(place, epoch) for place in range(len(schedule))]


def test_without_shares_every_photo_comes_once():
    schedule = PhotoSchedule([3, 2])
    assert [list_epoch(schedule, epoch) for epoch in (0, 7)] == [
        [(photo, epoch) for photo in range(5)] for epoch in (0, 7)
    ]


@pytest.mark.parametrize("shares", [(1, 1), (0.2, 0.6), (9, 1)])
def test_each_corpus_has_its_share_and_no_photo_comes_again_before_the_others(shares):
    sizes = (40, 10)
    schedule = PhotoSchedule(sizes, shares, seed=5)
    assert len(schedule) == 50
    shown = Counter()
    for epoch in range(8):
        photos = [photo for photo, _ in list_epoch(schedule, epoch)]
        first = sum(photo < 40 for photo in photos)
        assert first == round(50 * shares[0] / sum(shares))
        shown.update(photos)
        for begin, end in ((0, 40), (40, 50)):
            counts = [shown[photo] for photo in range(begin, end)]
            assert max(counts) - min(counts) <= 1
    assert {photo for photo in shown} == set(range(50))


def test_what_comes_depends_on_seed_epoch_and_place_alone():
    one, other = (PhotoSchedule((7, 5), (1, 2), seed=3) for _ in range(2))
    later = other.find_photo(11, 4)  # as a run does that is resumed
    assert [list_epoch(one, epoch) for epoch in range(5)][4][11] == later
    assert list_epoch(one, 0) != list_epoch(PhotoSchedule((7, 5), (1, 2), seed=4), 0)
    passes = Counter(photo.num_passes for photo in list_epoch(one, 0) if photo.index >= 7)
    assert passes == {0: 5, 1: 3}, "a second time through: another view of the photo"
