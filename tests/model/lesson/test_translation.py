"""The lesson's step between two languages: the numbers of the translator itself."""

import numpy as np
import pytest
import torch

from model.lesson.steps import choose_first_translation_step, take_translation_apart
from tests.support.translators import tiny_translator


@pytest.fixture(scope="module")
def translation():
    translator = tiny_translator()
    for name, p in translator.network.named_parameters():  # biases too, or they are not tested
        if "attn." in name and name.endswith("bias"):
            torch.nn.init.normal_(p, std=0.1)
    return translator.translate("A brown dog runs.", "xx", max_length=9)


def test_shares_are_those_of_the_translator(translation):
    network = translation.network
    source, _ = network.tokenizer.encode(translation.source)
    start = network.tokenizer.starts["xx"]
    with torch.no_grad():
        read = torch.tensor([[start, *translation.tokens[:-1]]])
        output = network.decoder(read, network.read_sentences([source]), need_weights=True)
    for word in (0, len(translation.words) - 1):
        row = translation.words[word].start
        for layer in range(2):
            for head in range(2):
                step, source_texts = take_translation_apart(translation, word, layer, head)
                expected = output.cross_attn_weights[layer][0, head].numpy()
                np.testing.assert_allclose(step.weights, expected[row], atol=1e-5)
                np.testing.assert_allclose(step.weights_so_far, expected[: row + 1], atol=1e-5)
                assert max(step.weights_difference, step.output_difference) < 1e-5
                assert len(source_texts) == len(source) + 1 and source_texts[-1] == "end"
                assert len(step.token_texts) == row + 1


def test_it_begins_where_one_word_looked_at_one_word_most(translation):
    word, layer, head = choose_first_translation_step(translation)
    assert translation.alignment[word].max() == translation.alignment.max()
    source = translation.alignment[word].argmax()
    weights = translation.head_weights[:, :, word, source]
    assert weights[layer, head] == weights.max()
