"""Alternatives to a word: what the model rates next, made whole."""

import math

import pytest
import torch

from model.explain import alternatives
from tests.support.tiny import draw_photo, tiny_captioner


@pytest.fixture(scope="module")
def captioner():
    return tiny_captioner(seed=4)


@pytest.fixture(scope="module")
def photo(captioner):
    return captioner.encode([draw_photo()])[0]


def rate_next(network, photo, tokens):
    """The log-probability of each token that may follow, by one plain pass."""
    ids = torch.tensor([[network.tokenizer.start, *tokens]])
    with torch.inference_mode():
        cache = network.decoder.look_at(photo.image_features[None])
        return network.decoder(ids, cache).logits[0, -1].log_softmax(-1)


def test_probabilities_are_the_models_own(captioner, photo, monkeypatch):
    monkeypatch.setattr(alternatives, "MAX_ALTERNATIVES", 3)
    tokenizer = captioner.network.tokenizer
    sentence = "A dog runs through the grass."
    tokens, words = tokenizer.encode(sentence)
    alternatives_by_word = captioner.alternatives(photo, sentence)
    assert len(alternatives_by_word) == len(words) == 6
    for word, others in zip(words, alternatives_by_word, strict=True):
        assert 1 <= len(others) <= 3
        assert [o.probability for o in others] == sorted(o.probability for o in others)[::-1]
        for other in others:
            assert other.text != word.text
            before = tokens[: word.start]
            text = " ".join([*(w.text for w in words[: words.index(word)]), other.text])
            other_tokens = tokenizer.encode(text)[0][word.start :] or [tokenizer.end]
            total = 0.0
            for i, token in enumerate(other_tokens):
                read_before = [*before, *other_tokens[:i]]
                total += float(rate_next(captioner.network, photo, read_before)[token])
            assert math.log(other.probability) == pytest.approx(total, abs=1e-3)


def test_the_word_itself_is_not_among_them_and_the_end_may_be(captioner, photo, monkeypatch):
    monkeypatch.setattr(alternatives, "MAX_ALTERNATIVES", 300)
    network = captioner.network
    caption = captioner.caption(photo, num_beams=1)
    alternatives_by_word = captioner.alternatives(photo, caption)
    for i, (word, others) in enumerate(zip(caption.words, alternatives_by_word, strict=True)):
        first = caption.tokens[word.start]
        ends = [o for o in others if o.text == ""]
        assert len(ends) == (1 if i else 0)
        if i:
            log_probabilities = rate_next(network, photo, list(caption.tokens[: word.start]))
            expected = float(log_probabilities[network.tokenizer.end].exp())
            assert ends[0].probability == pytest.approx(expected, rel=1e-3)
            rest = 1 - float(log_probabilities[first].exp())
            assert all(o.probability <= rest + 1e-5 for o in others)


def test_an_alternative_ends_where_the_positions_do(captioner, photo, monkeypatch):
    monkeypatch.setattr(alternatives, "MAX_ALTERNATIVES", 200)
    max_tokens = captioner.network.config.max_length - 1
    sentence = " ".join(["dog"] * (max_tokens // 2))
    assert len(captioner.network.tokenizer.encode(sentence)[0]) == max_tokens - 1
    assert all(captioner.alternatives(photo, sentence))
