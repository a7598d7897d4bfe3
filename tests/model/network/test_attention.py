"""The attention block against itself, against NumPy and against transformers' GPT-2."""

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from model.checkpoint.families.vit_gpt2 import rename_gpt2_tensors
from model.lesson.numpy_attention import (
    attention,
    causal_mask,
    cross_attention,
    multi_head_cross_attention,
    softmax,
)
from model.network.attention import MultiHeadAttention
from model.network.decoder import TextDecoder

WIDTH, HEADS, CONTEXT_WIDTH = 24, 3, 40


@pytest.fixture
def block():
    torch.manual_seed(0)
    return MultiHeadAttention(WIDTH, HEADS, CONTEXT_WIDTH).eval()


def as_numpy(block, text, context, mask=None):
    """The NumPy lesson with a torch block's weights; Linear keeps its matrices transposed."""
    parameters = {}
    for name, layer in block.named_children():
        parameters[f"w_{name}"] = layer.weight.detach().numpy().T
        parameters[f"b_{name}"] = layer.bias.detach().numpy()
    return multi_head_cross_attention(
        text.numpy(), context.numpy(), num_heads=block.num_heads, mask=mask, **parameters
    )


def test_numpy_is_torch_for_cross_attention(block):
    text, image = torch.randn(5, WIDTH), torch.randn(7, CONTEXT_WIDTH)
    output, weights = block(text[None], block.keys_values(image[None]), need_weights=True)
    expected, expected_weights = as_numpy(block, text, image)
    np.testing.assert_allclose(output[0].detach(), expected, atol=1e-6)
    np.testing.assert_allclose(weights[0].detach(), expected_weights, atol=1e-6)


def test_numpy_is_torch_for_self_attention():
    torch.manual_seed(1)
    block = MultiHeadAttention(WIDTH, HEADS).eval()
    text = torch.randn(6, WIDTH)
    output, weights = block(
        text[None], block.keys_values(text[None]), is_causal=True, need_weights=True
    )
    expected, expected_weights = as_numpy(block, text, text, causal_mask(6))
    np.testing.assert_allclose(output[0].detach(), expected, atol=1e-6)
    np.testing.assert_allclose(weights[0].detach(), expected_weights, atol=1e-6)
    assert (weights[0].triu(1) == 0).all()


@pytest.mark.parametrize("is_causal", [False, True])
def test_fast_path_is_explainable_path(is_causal):
    torch.manual_seed(2)
    block = MultiHeadAttention(WIDTH, HEADS).eval()
    x = torch.randn(2, 5, WIDTH)
    # for the causal case, three positions of the past come before
    keys_values = block.keys_values(torch.cat([torch.randn(2, 3, WIDTH), x], dim=1))
    fast, none = block(x, keys_values, is_causal=is_causal)
    slow, weights = block(x, keys_values, is_causal=is_causal, need_weights=True)
    assert none is None
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=0)
    assert weights.shape == (2, HEADS, 5, 8)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, HEADS, 5))


@pytest.mark.parametrize("need_weights", [False, True])
def test_rows_that_share_an_image_equal_rows_with_a_copy_each(block, need_weights):
    images, group = 2, 3
    x, context = torch.randn(images * group, 4, WIDTH), torch.randn(images, 7, CONTEXT_WIDTH)
    shared = block(x, block.keys_values(context), need_weights=need_weights)
    copies = context.repeat_interleave(group, dim=0)
    alone = block(x, block.keys_values(copies), need_weights=need_weights)
    torch.testing.assert_close(shared[0], alone[0], atol=1e-6, rtol=0)
    if need_weights:
        assert shared[1].shape == (images * group, HEADS, 4, 7)
        torch.testing.assert_close(shared[1], alone[1], atol=1e-6, rtol=0)


def test_rows_that_do_not_fit_are_refused(block):
    keys_values = block.keys_values(torch.randn(2, 7, CONTEXT_WIDTH))
    with pytest.raises(ValueError, match="3 rows of queries do not fit 2"):
        block(torch.randn(3, 4, WIDTH), keys_values)
    with pytest.raises(ValueError, match="num_heads"):
        MultiHeadAttention(10, 3)


def test_numpy_by_hand():
    """One query that matches the first of two keys by log 3 is a share of 3 to 1."""
    output, weights = attention(
        np.array([[1.0]]), np.array([[np.log(3.0)], [0.0]]), np.array([[4.0], [8.0]])
    )
    np.testing.assert_allclose(weights, [[0.75, 0.25]])
    np.testing.assert_allclose(output, [[5.0]])


def test_numpy_single_head_is_one_of_multi_head():
    rng = np.random.default_rng(0)
    text, image = rng.normal(size=(3, 6)), rng.normal(size=(5, 4))
    w_query, w_key, w_value = (rng.normal(size=(d, 8)) for d in (6, 4, 4))
    single, weights = cross_attention(text, image, w_query, w_key, w_value)
    multi, multi_weights = multi_head_cross_attention(
        text, image, w_query, w_key, w_value, np.eye(8), num_heads=1
    )
    np.testing.assert_allclose(single, multi)
    np.testing.assert_allclose(weights, multi_weights[0])


def test_numpy_softmax_is_safe():
    np.testing.assert_allclose(softmax(np.array([1e4, 1e4])), [0.5, 0.5])
    np.testing.assert_allclose(softmax(np.array([-1e4, 0.0, -np.inf])), [0, 1, 0], atol=1e-12)
    with pytest.raises(ValueError, match="hidden entirely"):
        softmax(np.array([[0.0, 1.0], [-np.inf, -np.inf]]))


def test_numpy_mask_hides():
    query, key, value = np.ones((2, 1)), np.zeros((2, 1)), np.array([[1.0], [3.0]])
    output, weights = attention(query, key, value, causal_mask(2))
    np.testing.assert_allclose(weights, [[1, 0], [0.5, 0.5]])
    np.testing.assert_allclose(output, [[1], [2]])


# --- our decoder with the weights of transformers' GPT-2 ---------------------------------------


def gpt2_with_cross_attention(width=32, layers=3, heads=4, vocab_size=50, positions=16):
    config = GPT2Config(
        vocab_size=vocab_size,
        n_positions=positions,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        add_cross_attention=True,
        attn_implementation="eager",
        bos_token_id=0,
        eos_token_id=1,
    )
    torch.manual_seed(3)
    model = GPT2LMHeadModel(config).eval()
    for name, p in model.named_parameters():  # biases and norms too, or they are not tested
        if p.dim() == 1:
            torch.nn.init.normal_(p, mean=float("ln" in name and "weight" in name), std=0.2)
    return model


def decoder_from_gpt2(gpt2):
    """Our decoder with a GPT-2's weights."""
    config = gpt2.config
    ours = TextDecoder(
        vocab_size=config.vocab_size,
        max_length=config.n_positions,
        width=config.n_embd,
        num_layers=config.n_layer,
        num_heads=config.n_head,
        image_width=config.n_embd,
    )
    ours.load_state_dict(rename_gpt2_tensors(gpt2))
    return ours.eval()


@torch.inference_mode()
def test_decoder_is_gpt2_with_cross_attention():
    gpt2 = gpt2_with_cross_attention()
    ours = decoder_from_gpt2(gpt2)
    lengths = [9, 4, 6]  # unequal, padded on the right
    tokens = torch.randint(0, 50, (3, 9))
    image_features = torch.randn(3, 11, 32)
    there = torch.arange(9)[None] < torch.tensor(lengths)[:, None]
    theirs = gpt2(
        tokens,
        attention_mask=there.long(),
        encoder_hidden_states=image_features,
        output_attentions=True,
    )
    output = ours(tokens, ours.look_at(image_features), need_weights=True)
    fast = ours(tokens, ours.look_at(image_features))
    assert torch.stack(output.cross_attn_weights).shape == (3, 3, 4, 9, 11)
    for row, length in enumerate(lengths):
        for logits in (output.logits, fast.logits):
            torch.testing.assert_close(
                logits[row, :length], theirs.logits[row, :length], atol=1e-5, rtol=0
            )
        for ours_by_layer, theirs_by_layer in (
            (output.cross_attn_weights, theirs.cross_attentions),
            (output.self_attn_weights, theirs.attentions),
        ):
            for layer, weights in enumerate(theirs_by_layer):
                torch.testing.assert_close(
                    ours_by_layer[layer][row, :, :length],
                    weights[row, :, :length],
                    atol=1e-5,
                    rtol=0,
                )
