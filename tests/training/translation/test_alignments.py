"""How an alignment is measured: by the source words that a translation misses."""

import numpy as np
import pytest
import torch

from tests.support.translators import SENTENCES, tiny_translator
from training.translation.alignments import (
    DIAGONAL,
    HIGHEST,
    RANDOM,
    Heads,
    list_heads,
    measure_drops,
    score_alignments,
)


@pytest.fixture(scope="module")
def translations():
    return tiny_translator().translate_all([*SENTENCES, "Dog."], "xx", max_length=9)


def read_likelihoods(translation, sentence):
    """The log-probability of each word of a translation beside another source."""
    network = translation.network
    source, _ = network.tokenizer.encode(sentence)
    tokens = [network.tokenizer.starts["xx"], *translation.tokens]
    with torch.no_grad():
        logits = network.decoder(torch.tensor([tokens]), network.read_sentences([source])).logits
    each = logits[0].log_softmax(dim=-1)[range(len(tokens) - 1), tokens[1:]]
    return np.array([each[word.start : word.stop].sum() for word in translation.words])


def test_drops_are_those_of_the_sentence_without_the_word(translations):
    translation = translations[0]
    drops = measure_drops(translation)
    words = translation.source.split()
    assert drops.shape == (len(translation.words), len(words))
    whole = read_likelihoods(translation, translation.source)
    for i in range(1, len(words)):  # without the first, another begins the sentence: other tokens
        without = read_likelihoods(translation, " ".join(words[:i] + words[i + 1 :]))
        np.testing.assert_allclose(drops[:, i], whole - without, atol=1e-4)


def test_scores_are_the_drops_of_the_words_that_are_named(translations):
    scores = score_alignments(translations)  # the last has one word: nothing to choose from
    drops = [measure_drops(translation) for translation in translations[:3]]
    assert scores[RANDOM] == pytest.approx(np.concatenate([d.mean(axis=1) for d in drops]).mean())
    highest = np.concatenate([d.max(axis=1) for d in drops]).mean()
    assert scores[HIGHEST] == pytest.approx(highest) and highest == max(scores.values())
    of_mean = [
        d[range(len(d)), t.alignment.argmax(axis=1)]
        for d, t in zip(drops, translations, strict=False)
    ]
    assert scores[Heads()] == pytest.approx(np.concatenate(of_mean).mean())
    heads = [Heads(), *(Heads(i) for i in (0, 1)), *(Heads(i, j) for i in (0, 1) for j in (0, 1))]
    assert list_heads(translations[0].network) == heads
    assert set(scores) == {RANDOM, DIAGONAL, HIGHEST, *heads}
    assert [str(h) for h in (heads[0], heads[1], heads[-1])] == [
        "all layers",
        "layer 0",
        "layer 1, head 1",
    ]
