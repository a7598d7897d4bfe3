"""The lesson's step with sentences: the numbers of the whole captioner with a memory."""

import numpy as np
import pytest
import torch

from model.errors import OptionError
from model.lesson.steps import take_retrieval_apart, take_step_apart
from model.memory.memory import read_caption
from tests.support.lesson import GRID, HEADS, LAYERS
from tests.support.tiny import SENTENCES, draw_photo, tiny_captioner, tiny_captioner_with_memory


@pytest.fixture(scope="module")
def captioner():
    return tiny_captioner_with_memory((42, 84))


@pytest.fixture(scope="module")
def photo(captioner):
    return captioner.encode([draw_photo()])[0]


def test_shares_are_those_of_the_captioner_with_a_memory(captioner, photo):
    network = captioner.network
    read = [read_caption(network, "", text) for text in SENTENCES]
    explanation = captioner.explain(network.remember(photo, read), "A dog in the grass.")
    for word in (0, 3):
        row = explanation.words[word].start
        for layer in range(LAYERS):
            for head in range(HEADS):
                step, sentences, word_weights = take_retrieval_apart(
                    network, photo.image_features, SENTENCES, explanation.caption, word, layer, head
                )
                expected = explanation.attention.weights[layer, head, row]
                np.testing.assert_allclose(step.weights, expected, atol=1e-5)
                assert max(step.weights_difference, step.output_difference) < 1e-5
                assert [sentence.text for sentence in sentences] == SENTENCES
                assert [len(w) for w in word_weights] == [len(s.split()) for s in SENTENCES]
                on_words = sum(map(sum, word_weights))
                assert on_words == pytest.approx(expected[1 + GRID[0] * GRID[1] :].sum(), abs=1e-5)


def test_without_sentences_it_is_the_plain_step(captioner, photo):
    caption = captioner.explain(photo, "A dog in the grass.").caption
    plain = take_step_apart(captioner.network, photo.image_features, caption, 1, 1, 0)
    step, sentences, word_weights = take_retrieval_apart(
        captioner.network, photo.image_features, ["", " \n"], caption, 1, 1, 0
    )
    assert (sentences, word_weights) == ([], [])
    np.testing.assert_array_equal(step.weights, plain.weights)


def test_a_network_without_a_memory_encoder_says_so():
    plain = tiny_captioner()
    photo = plain.encode([draw_photo()])[0]
    caption = plain.explain(photo, "A dog.").caption
    with pytest.raises(OptionError, match="not learned to look at a memory"):
        take_retrieval_apart(
            plain.network, torch.clone(photo.image_features), SENTENCES, caption, 0, 0, 0
        )
