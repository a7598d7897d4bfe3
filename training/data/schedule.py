"""Which photo comes when, where several corpora are learned from together."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch


class ScheduledPhoto(NamedTuple):
    """A photo's index among all, and how many times it has been through before."""

    index: int
    num_passes: int


class PhotoSchedule:
    """The photos of an epoch: as many as there are, each corpus by its share.

    A corpus with more than its share of the photos needs several epochs to come through once, one
    with fewer comes through more than once an epoch, and none of its photos has more places than
    another but one. (The Trainer shuffles the places of an epoch.) What stands where depends on the
    seed, the epoch and the place alone, so that a run that is resumed sees what it would have seen.

    Args:
        sizes: photos of each corpus, which follow one another.
        shares: of each corpus, in any unit; their sizes if None: every photo once an epoch.
    """

    def __init__(self, sizes: Sequence[int], shares: Sequence[float] | None = None, seed: int = 0):
        self._sizes, self._seed = list(sizes), seed
        shares = shares or sizes
        # cut by their running total, so that the parts add up
        total, length = sum(shares), sum(sizes)
        self._bounds = [round(length * sum(shares[:k]) / total) for k in range(len(shares) + 1)]
        self._is_shared = shares is not sizes

    def __len__(self) -> int:
        return self._bounds[-1]

    def find_photo(self, place: int, epoch: int) -> ScheduledPhoto:
        """The photo at a place in an epoch."""
        if not self._is_shared:
            return ScheduledPhoto(place, epoch)
        corpus = next(k for k, bound in enumerate(self._bounds[1:]) if place < bound)
        start, size = self._bounds[corpus], self._sizes[corpus]
        each_epoch = self._bounds[corpus + 1] - start
        num_passes, rank = divmod(epoch * each_epoch + place - start, size)
        order = _shuffle(size, self._seed, corpus, num_passes)
        return ScheduledPhoto(sum(self._sizes[:corpus]) + order[rank], num_passes)


@lru_cache(maxsize=64)  # of each corpus the pass that ends and the one that begins
def _shuffle(size: int, seed: int, corpus: int, num_passes: int) -> list[int]:
    generator = torch.Generator().manual_seed(hash((seed, corpus, num_passes)) % 2**63)
    return torch.randperm(size, generator=generator).tolist()
