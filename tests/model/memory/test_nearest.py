"""The search for similar features: exact to the last place, or FAISS's."""

import sys

import pytest
import torch
import torch.nn.functional as F

from model.memory import nearest
from model.memory.nearest import ExactSearch, FaissSearch, create_search

WIDTH = 48


def draw(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))


def rank(features: torch.Tensor, query: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """All entries, best first, and the cosine of each, the long way in float64."""
    mean = features.double().mean(dim=0)
    cosines = F.normalize(features.double() - mean, dim=1) @ F.normalize(query - mean, dim=0)
    return cosines.argsort(descending=True), cosines


def test_entries_too_near_to_tell_apart_in_half_precision_are_still_ranked():
    centre = draw(1, 1)[0]
    features = torch.cat([draw(500, 2), centre + 0.003 * draw(100, 3)]).half()
    query = centre + 0.003 * draw(1, 4)[0]
    order, cosines = rank(features, query.double())
    halves = F.normalize(features.float() - features.float().mean(dim=0), dim=1).half()
    rough = halves @ F.normalize(query - features.float().mean(dim=0), dim=0).half()
    assert rough.topk(5).indices.tolist() != order[:5].tolist()  # the case is one
    neighbours = ExactSearch(features).find(query, 5, ())
    assert [cosines[n.entry].item() for n in neighbours] == pytest.approx(
        cosines[order[:5]].tolist(), abs=3e-7
    )
    assert [n.similarity for n in neighbours] == pytest.approx(
        cosines[order[:5]].tolist(), abs=3e-6
    )


def test_the_best_are_found_whatever_is_left_out():
    features = draw(300, 5).half()
    query = draw(1, 6)[0]
    order, _ = rank(features, query.double())
    left_out = order[:4].tolist()
    search = ExactSearch(features)
    assert [n.entry for n in search.find(query, 3, left_out)] == order[4:7].tolist()
    assert len(search.find(query, 300, left_out)) == 296
    assert search.find(query, 3, range(300)) == []


@pytest.mark.parametrize("block_size", [64, 4096])
def test_many_at_a_time_are_found_as_one_by_one(monkeypatch, block_size):
    monkeypatch.setattr(nearest, "BLOCK_SIZE", block_size)
    features, queries = draw(300, 5).half(), draw(20, 6)
    search = ExactSearch(features)
    for k in (1, 7, 100, 500):
        together = search.find_many(queries, k)
        alone = [search.find(query, k, ()) for query in queries]
        assert [[n.entry for n in row] for row in together] == [
            [n.entry for n in row] for row in alone
        ]
        for row, same in zip(together, alone, strict=True):
            assert [n.similarity for n in row] == pytest.approx(
                [n.similarity for n in same], abs=1e-6
            )
    assert ExactSearch(features[:0]).find_many(queries, 5) == [[]] * 20


def test_faiss_searches_large_memories_alone(monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.setattr(nearest, "MAX_EXACT", 100)
    assert isinstance(create_search(draw(100, 0)), ExactSearch)
    assert isinstance(create_search(draw(101, 0)), FaissSearch)


def test_without_faiss_a_large_memory_is_searched_exactly(monkeypatch):
    monkeypatch.setattr(nearest, "MAX_EXACT", 100)
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert isinstance(create_search(draw(101, 0)), ExactSearch)


def test_faiss_finds_what_the_exact_search_finds():
    pytest.importorskip("faiss")
    centres = draw(40, 7)
    features = (centres.repeat_interleave(50, dim=0) + 0.3 * draw(2000, 8)).half()
    exact, faiss = ExactSearch(features), FaissSearch(features)
    for index in range(0, 2000, 100):
        query = features[index].float() + 0.05 * draw(1, index)[0]
        expected = exact.find(query, 5, [index])
        neighbours = faiss.find(query, 5, [index])
        assert [n.entry for n in neighbours] == [n.entry for n in expected]
        assert [n.similarity for n in neighbours] == pytest.approx(
            [n.similarity for n in expected], abs=2e-3
        )
    assert len(faiss.find(query, 2000, ())) <= 2000
    queries = features[::100].float()
    assert faiss.find_many(queries, 5) == [faiss.find(query, 5, ()) for query in queries]
