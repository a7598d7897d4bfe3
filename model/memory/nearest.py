"""Which remembered features are most like others: by the cosine of both, without their mean.

Up to `MAX_EXACT` entries all are compared. Beyond, FAISS (`pip install faiss-cpu`) compares those
in the parts of the space that are nearest to the query, and may miss some; without FAISS all are
compared, which takes longer.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_EXACT = 100_000  # entries
# More than a cosine can be off in half precision: a 2000th of each number, summed in float32
MAX_ROUNDING = 0.004
BLOCK_SIZE = 4096  # entries that are in float32 at a time
SHARE_SEARCHED = 1 / 8  # of FAISS's parts
TRAINING_SIZE = 40  # entries a part from which FAISS learns where the parts are


class Neighbour(NamedTuple):
    """An entry that is near a photo: its number, and the cosine of both."""

    entry: int
    similarity: float


class Search(Protocol):
    """Finds entries by features."""

    def find(self, query: Tensor, k: int, left_out: Sequence[int]) -> list[Neighbour]:
        """At most k entries, best first, none of those left out. query: (width,) float32."""

    def find_many(self, queries: Tensor, k: int) -> list[list[Neighbour]]:
        """For each query, at most k entries, best first: as `find`, and quicker for hundreds.
        queries: (queries, width) float32."""


def create_search(features: Tensor) -> Search:
    """The search among features (entries, width): exact, or FAISS's where there are more than
    `MAX_EXACT` and it is installed."""
    if len(features) > MAX_EXACT:
        try:
            return FaissSearch(features)
        except ImportError:
            pass
    return ExactSearch(features)


class ExactSearch:
    """Compares all entries: in half precision, which takes half the time, and those that might be
    among the best once more in float32."""

    def __init__(self, features: Tensor):
        self.features, self.mean = features, _compute_mean(features)
        self.halves = torch.empty_like(features, dtype=torch.float16)
        blocks = self.halves.split(BLOCK_SIZE)
        for block, units in zip(blocks, _normalize_blocks(features, self.mean), strict=True):
            block.copy_(units)

    def find(self, query: Tensor, k: int, left_out: Sequence[int]) -> list[Neighbour]:
        k = min(k, len(self.features) - len(left_out))
        if k == 0:
            return []
        unit = _normalize(query, self.mean)
        rough = (self.halves @ unit.half()).float()
        rough[list(left_out)] = float("-inf")
        enough = rough.topk(k).values[-1] - 2 * MAX_ROUNDING
        candidates = (rough >= enough).nonzero()[:, 0]
        cosines = _normalize(self.features[candidates], self.mean) @ unit
        best = cosines.topk(k)
        return _list_neighbours(candidates[best.indices].tolist(), best.values.tolist())

    def find_many(self, queries: Tensor, k: int) -> list[list[Neighbour]]:
        units, first = _normalize(queries, self.mean), 0
        values, entries = [], []
        for block in _normalize_blocks(self.features, self.mean):
            best = (units @ block.T).topk(min(k, len(block)))
            values.append(best.values)
            entries.append(best.indices + first)
            first += len(block)
        cosines = torch.cat(values, dim=1)
        best = cosines.topk(min(k, first))
        numbers = torch.cat(entries, dim=1).gather(1, best.indices)
        return list(map(_list_neighbours, numbers.tolist(), best.values.tolist()))


class FaissSearch:
    """FAISS's inverted file (`IndexIVFScalarQuantizer`) of unit vectors in half precision."""

    def __init__(self, features: Tensor):
        import faiss  # an optional extra

        self.faiss, self.mean = faiss, _compute_mean(features)
        num_entries, width = features.shape
        num_parts = int(num_entries**0.5)
        self.index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(width),
            width,
            num_parts,
            faiss.ScalarQuantizer.QT_fp16,
            faiss.METRIC_INNER_PRODUCT,
        )
        sample = features[:: max(1, num_entries // (TRAINING_SIZE * num_parts))]
        self.index.train(_normalize(sample, self.mean).numpy())
        for units in _normalize_blocks(features, self.mean):
            self.index.add(units.numpy())
        self.num_searched = max(1, int(num_parts * SHARE_SEARCHED))

    def find(self, query: Tensor, k: int, left_out: Sequence[int]) -> list[Neighbour]:
        return self._search(query[None], k, left_out)[0]

    def find_many(self, queries: Tensor, k: int) -> list[list[Neighbour]]:
        return self._search(queries, k, ())

    def _search(self, queries: Tensor, k: int, left_out: Sequence[int]) -> list[list[Neighbour]]:
        faiss = self.faiss
        others = faiss.IDSelectorNot(faiss.IDSelectorBatch(list(left_out)))
        parameters = faiss.SearchParametersIVF(nprobe=self.num_searched, sel=others)
        units = _normalize(queries, self.mean).numpy()
        cosines, entries = self.index.search(units, k, params=parameters)
        counts = (entries >= 0).sum(axis=1).tolist()  # -1 where the parts hold fewer
        return [
            _list_neighbours(row[:count].tolist(), values[:count].tolist())
            for row, values, count in zip(entries, cosines, counts, strict=True)
        ]


def _compute_mean(features: Tensor) -> Tensor:
    """The mean of features (entries, width): (width,) float32; zeros where there are none."""
    total = torch.zeros(features.shape[1])
    for block in features.split(BLOCK_SIZE):
        total += block.sum(dim=0, dtype=torch.float32)
    return total / max(len(features), 1)


def _normalize_blocks(features: Tensor, mean: Tensor) -> Iterator[Tensor]:
    """`_normalize`, block by block: in float32 all would take several times the features' room."""
    return (_normalize(block, mean) for block in features.split(BLOCK_SIZE))


def _normalize(features: Tensor, mean: Tensor) -> Tensor:
    """Features (..., width) without the mean and at unit length, float32."""
    return F.normalize(features.float() - mean, dim=-1)


def _list_neighbours(entries: list[int], cosines: list[float]) -> list[Neighbour]:
    return [Neighbour(*pair) for pair in zip(entries, cosines, strict=True)]
