"""Batches of about equally many tokens, of sentence pairs that are about equally long."""

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from model.network.text_encoder import pad_tokens
from model.network.tokenizer import as_sentence
from model.translation.tokenizer import TranslatorTokenizer
from training.data.dataset import IGNORED
from training.translation.pairs import ParallelText


class Pair(NamedTuple):
    """A sentence and its translation as tokens: both with the end token, the translation with the
    start token of its language."""

    source: list[int]
    target: list[int]

    @property
    def length(self) -> int:
        """Positions that the longer of the two takes."""
        return max(len(self.source), len(self.target) - 1)


def encode_pairs(text: ParallelText, tokenizer: TranslatorTokenizer, max_length: int) -> list[Pair]:
    """Every line in every direction, without those longer than `max_length` tokens.

    Sources are read as `Translator` reads them, with a capital and a stop; translations are learned
    as they were written.
    """
    end = tokenizer.end
    columns = {
        language: [tokenizer.encode(sentence)[0] for sentence in text.sentences[language]]
        for language in text.targets
    }
    sources = [tokenizer.encode(as_sentence(s))[0] for s in text.sentences[text.source]]
    pairs = [
        Pair([*source, end], [tokenizer.starts[language], *target, end])
        for language in text.targets
        for source, target in zip(sources, columns[language], strict=True)
    ]
    return [pair for pair in pairs if pair.length <= max_length]


class BatchDataset(Dataset):
    """Whole batches as items, so that the Trainer shuffles batches and can resume between them.

    Pairs are sorted by length and cut where the padded tokens of a side would be more than
    `batch_tokens`. Pairs of one length change places every `epoch`: a batch has always the same
    size, and always other sentences.
    """

    def __init__(self, pairs: Sequence[Pair], batch_tokens: int, seed: int):
        self.pairs, self.seed = sorted(pairs, key=lambda pair: pair.length), seed
        self.epoch = 0
        self._bounds = [0]
        for i, pair in enumerate(self.pairs):
            first = self._bounds[-1]
            if i > first and (i + 1 - first) * pair.length > batch_tokens:
                self._bounds.append(i)
        self._bounds.append(len(self.pairs))
        self._order: tuple[int, list[Pair]] = (-1, [])

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, index: int) -> list[Pair]:
        if self._order[0] != self.epoch:
            draw = random.Random(f"{self.seed} {self.epoch}")
            shuffled = draw.sample(self.pairs, len(self.pairs))
            self._order = (self.epoch, sorted(shuffled, key=lambda pair: pair.length))
        return self._order[1][self._bounds[index] : self._bounds[index + 1]]


def collate_pairs(batches: Sequence[Sequence[Pair]]) -> dict[str, Tensor]:
    """Tensors of one batch: sources and visible (pairs, S), targets and labels (pairs, T)."""
    (pairs,) = batches

    def pad(rows: list[list[int]], value: int) -> Tensor:
        return pad_sequence([torch.tensor(row) for row in rows], True, value)

    sources, visible = pad_tokens([pair.source for pair in pairs])
    return {
        "sources": sources,
        "visible": visible,
        "targets": pad([pair.target[:-1] for pair in pairs], 0),
        "labels": pad([pair.target[1:] for pair in pairs], IGNORED),
    }
