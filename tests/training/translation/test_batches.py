"""Batches of sentence pairs: every pair once an epoch, within the size, and padding marked."""

import random

import torch

from training.data.dataset import IGNORED
from training.translation.batches import BatchDataset, Pair, collate_pairs

BATCH_TOKENS = 60


def draw_pairs(number=100):
    draw = random.Random(0)
    return [
        Pair([i] * draw.randint(2, 12), [1, *[i] * draw.randint(2, 12), 0]) for i in range(number)
    ]


def test_every_pair_comes_once_an_epoch_within_the_size():
    pairs = draw_pairs()
    batches = BatchDataset(pairs, BATCH_TOKENS, seed=0)
    for batches.epoch in (0, 1):
        epoch = [batches[i] for i in range(len(batches))]
        assert sorted(pair for batch in epoch for pair in batch) == sorted(pairs)
        for batch in epoch:
            assert len(batch) * max(pair.length for pair in batch) <= BATCH_TOKENS


def test_epochs_differ_in_sentences_and_not_in_sizes():
    batches = BatchDataset(draw_pairs(), BATCH_TOKENS, seed=0)
    first = [batches[i] for i in range(len(batches))]
    batches.epoch = 1
    second = [batches[i] for i in range(len(batches))]
    assert first != second
    assert [len(batch) for batch in first] == [len(batch) for batch in second]
    again = BatchDataset(draw_pairs(), BATCH_TOKENS, seed=0)
    again.epoch = 1
    assert [again[i] for i in range(len(again))] == second, "a resumed run has the same"


def test_a_pair_longer_than_a_batch_is_a_batch():
    batches = BatchDataset([Pair([1] * 90, [1, 2, 0])], BATCH_TOKENS, seed=0)
    assert len(batches) == 1 and len(batches[0]) == 1


def test_the_padding_is_neither_seen_nor_learned():
    batch = collate_pairs([[Pair([5, 6, 0], [1, 7, 0]), Pair([8, 0], [2, 9, 9, 9, 0])]])
    assert batch["sources"].shape == (2, 3)
    assert batch["visible"].tolist() == [[True, True, True], [True, True, False]]
    assert batch["targets"].tolist() == [[1, 7, 0, 0], [2, 9, 9, 9]]
    assert batch["labels"].tolist() == [[7, 0, IGNORED, IGNORED], [9, 9, 9, 0]]
    assert batch["sources"].dtype == torch.long
