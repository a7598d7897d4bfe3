"""The lesson's steps: its numbers against torch."""

import numpy as np
import pytest
import torch

from model.explain.methods import rate_by_gradient
from model.lesson.numpy_attention import attention
from model.lesson.steps import caption_blindly, choose_first_step, take_step_apart
from tests.support.lesson import GRID, HEADS, LAYERS
from tests.support.tiny import draw_photo, tiny_captioner


def every_head(captioner, features, caption):
    for word in (0, len(caption.words) - 1):
        for layer in range(LAYERS):
            for head in range(HEADS):
                step = take_step_apart(captioner.network, features, caption, word, layer, head)
                yield word, layer, head, step


@torch.inference_mode()
def test_numbers_are_those_of_the_captioner(captioner, features, caption):
    """Not only of the block alone: of the whole decoder reading the whole caption."""
    given = {}
    blocks = captioner.network.decoder.blocks
    hooks = [
        part.register_forward_hook(lambda _, __, out, key=(kind, i): given.update({key: out[0]}))
        for i, block in enumerate(blocks)
        for kind, part in (("cross", block.cross_attn), ("query", block.cross_attn.query))
    ]
    inputs = torch.tensor([[captioner.network.tokenizer.start, *caption.tokens[:-1]]])
    cache = captioner.network.decoder.look_at(features[None])
    output = captioner.network.decoder(inputs, cache, need_weights=True)
    for hook in hooks:
        hook.remove()
    for word, layer, head, step in every_head(captioner, features, caption):
        row = caption.words[word].start  # the position that chose the word's first token
        weights = output.cross_attn_weights[layer][0, :, row]
        np.testing.assert_allclose(step.weights, weights[head], atol=1e-5)
        np.testing.assert_allclose(step.all_weights, weights, atol=1e-5)
        np.testing.assert_allclose(step.layer_output, given["cross", layer][0, row], atol=1e-5)
        query = given["query", layer][row].view(HEADS, -1)[head]
        np.testing.assert_allclose(step.query, query, atol=1e-5)
        keys, values = cache.layers[layer].cross_attn
        np.testing.assert_allclose(step.keys, keys[0, head], atol=1e-5)
        np.testing.assert_allclose(step.values, values[0, head], atol=1e-5)
        assert 0 < max(step.weights_difference, step.output_difference) < 1e-5


def test_the_steps_follow_from_each_other(captioner, features, caption):
    for *_, step in every_head(captioner, features, caption):
        assert step.weights.shape == (1 + GRID[0] * GRID[1],)
        assert step.weights.sum() == pytest.approx(1)
        exponentials = np.exp(step.scores)
        np.testing.assert_allclose(step.weights, exponentials / exponentials.sum())
        best = step.scores.argmax()
        by_hand = step.query @ step.keys[best] / np.sqrt(len(step.query))
        assert step.scores[best] == pytest.approx(by_hand, abs=1e-6)
        whole, shares = attention(step.query[None], step.keys, step.values)
        np.testing.assert_allclose(step.output, whole[0], atol=1e-6)
        np.testing.assert_allclose(step.weights, shares[0], atol=1e-9)


@torch.inference_mode()
def test_self_attention_sees_the_words_so_far(captioner, features, caption):
    word = len(caption.words) - 1
    start = caption.words[word].start
    ids = [captioner.network.tokenizer.start, *caption.tokens[:start]]
    block = captioner.network.decoder.blocks[0]
    x = captioner.network.decoder.token_embedding(torch.tensor([ids]))
    x = block.self_attn_norm(x + captioner.network.decoder.position_embedding.weight[: len(ids)])
    _, expected = block.self_attn(
        x, block.self_attn.keys_values(x), is_causal=True, need_weights=True
    )
    for head in range(HEADS):
        step = take_step_apart(captioner.network, features, caption, word, 0, head)
        np.testing.assert_allclose(step.self_weights, expected[0, head], atol=1e-5)
        assert (np.triu(step.self_weights, 1) == 0).all()
        np.testing.assert_allclose(step.self_weights.sum(axis=1), 1)
        assert step.token_texts[0] == "start" and len(step.token_texts) == start + 1
        assert "".join(step.token_texts[1:]) == "".join(w.text for w in caption.words[:word])


def test_the_lesson_opens_where_the_photo_did_most(captioner, encoded, caption):
    explanation = captioner.explain(encoded, caption)
    word, layer, head = choose_first_step(explanation)
    assert explanation.gains[word] == max(explanation.gains)
    first = explanation.words[word].start, explanation.words[word].start + 1
    sums = {
        (i, j): rate_by_gradient(explanation.attention, first, i, j)[1:].sum()
        for i in range(LAYERS)
        for j in range(HEADS)
    }
    assert (layer, head) == max(sums, key=sums.get)


@torch.inference_mode()
def test_unseeing_is_a_decoder_to_which_the_photo_gives_nothing(captioner):
    blind = tiny_captioner((42, 84))
    blind.network.load_state_dict(captioner.network.state_dict())
    for block in blind.network.decoder.blocks:
        block.cross_attn.value.weight.zero_()
        block.cross_attn.value.bias.zero_()
    photos = [draw_photo(), draw_photo(50, 90, (0, 0, 250))]
    blind_captions = [blind.caption(photo) for photo in photos]
    assert {caption.text for caption in blind_captions} == {caption_blindly(captioner.network)}
    assert len({round(caption.log_probability, 3) for caption in blind_captions}) == 1
    assert len({round(captioner.caption(photo).log_probability, 3) for photo in photos}) == 2
