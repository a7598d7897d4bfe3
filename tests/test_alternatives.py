"""The runners-up to a word: what the model rates next, made whole."""

import math

import pytest
import torch

from tests.support.tiny import draw_photo, tiny_captioner


@pytest.fixture(scope="module")
def captioner():
    return tiny_captioner(seed=2)


def rate(captioner, features, tokens):
    """log p of what follows, by one plain pass."""
    ids = torch.tensor([[captioner.tokenizer.start, *tokens]])
    with torch.inference_mode():
        logits = captioner.decoder(ids, captioner.decoder.look_at(features[None])).logits
    return logits[0, -1].log_softmax(-1)


def test_probabilities_are_the_models_own(captioner):
    features = captioner.encode([draw_photo()])[0]
    sentence = "A dog runs through the grass."
    tokens, words = captioner.tokenizer.encode(sentence)
    listed = captioner.alternatives(features, sentence, count=3)
    assert len(listed) == len(words) == 6
    for word, others in zip(words, listed, strict=True):
        assert 1 <= len(others) <= 3
        assert [o.probability for o in others] == sorted(o.probability for o in others)[::-1]
        for other in others:
            assert other.text != word.text
            before = tokens[: word.start]
            text = " ".join([*(w.text for w in words[: words.index(word)]), other.text])
            pieces = captioner.tokenizer.encode(text)[0][word.start :]
            pieces = pieces or [captioner.tokenizer.end]
            total = 0.0
            for i, piece in enumerate(pieces):
                total += float(rate(captioner, features, [*before, *pieces[:i]])[piece])
            assert math.log(other.probability) == pytest.approx(total, abs=1e-3)


def test_the_word_itself_is_not_among_them_and_the_end_may_be(captioner):
    features = captioner.encode([draw_photo()])[0]
    tokenizer = captioner.tokenizer
    caption = captioner.caption(features, num_beams=1)
    listed = captioner.alternatives(features, caption, count=300)
    for place, (word, others) in enumerate(zip(caption.words, listed, strict=True)):
        first = caption.tokens[word.start]
        ended = [o for o in others if o.text == ""]
        assert len(ended) == (1 if place else 0)
        if place:
            rated = rate(captioner, features, list(caption.tokens[: word.start]))
            ends = float(rated[tokenizer.end].exp())
            assert ended[0].probability == pytest.approx(ends, rel=1e-3)
            assert all(o.probability <= 1 - float(rated[first].exp()) + 1e-5 for o in others)


def test_a_runner_up_ends_where_the_positions_do(captioner):
    features = captioner.encode([draw_photo()])[0]
    longest = captioner.config.max_length - 1
    sentence = " ".join(["dog"] * (longest // 2))
    assert len(captioner.tokenizer.encode(sentence)[0]) == longest - 1
    assert all(captioner.alternatives(features, sentence, count=200))
