"""Florence-2: the same words and attention as transformers, by its own settings and prompts."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from model import CheckpointError, OptionError, load
from model.explain.replay import replay_with_gradients
from tests.support.florence_hub import SIZE, save_florence2
from tests.support.hub import check_token_tree

PIXELS = np.random.default_rng(3).integers(0, 256, (2, 6, 9, 3), dtype=np.uint8)
PHOTOS = [Image.fromarray(pixels).resize((60, 40)) for pixels in PIXELS]
FEATURES = 13  # the mean over the grid, and 4 · 3


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """transformers' model, its processor, and our captioner of the same files."""
    folder = tmp_path_factory.mktemp("florence2")
    model = save_florence2(folder)
    return model, AutoProcessor.from_pretrained(folder), load(folder)


def make_inputs(processor, task="<CAPTION>", photos=PHOTOS):
    return processor(images=photos, text=[task] * len(photos), return_tensors="pt")


@pytest.mark.parametrize("task", ["<CAPTION>", "<MORE_DETAILED_CAPTION>"])
def test_pixels_and_prompt_are_the_processors(both, task):
    _, processor, captioner = both
    inputs = make_inputs(processor, task)
    network = captioner.with_prompt(task).network
    torch.testing.assert_close(network.pixel_values(PHOTOS), inputs["pixel_values"])
    assert inputs["input_ids"][0, FEATURES:].tolist() == network.decoder.prompt.tolist()
    assert network.encoder.image_size == SIZE


@pytest.mark.parametrize("seed", range(4))
def test_captions_are_those_of_generate_with_its_own_settings(seed, tmp_path):
    """Three beams, no three tokens twice, <s> and </s> forced."""
    model, captioner = save_florence2(tmp_path, seed), load(tmp_path)
    inputs = make_inputs(AutoProcessor.from_pretrained(tmp_path))
    rows = model.generate(**inputs, max_new_tokens=12)[:, 2:].tolist()
    for (caption,), row in zip(captioner.captions(PHOTOS, max_length=10), rows, strict=True):
        end = row.index(1)  # forced at the last place
        assert [token for token in caption.tokens if token != 1] == row[:end]


def test_greedy_weights_are_those_of_generate(both):
    model, processor, captioner = both
    output = model.generate(
        **make_inputs(processor, photos=PHOTOS[:1]),
        max_new_tokens=9,
        num_beams=1,
        no_repeat_ngram_size=0,
        output_attentions=True,
        return_dict_in_generate=True,
    )
    # each step (layers, heads, photo and prompt); the first, of </s>, chose <s>
    steps = [torch.stack(layers)[:, 0, :, -1] for layers in output.cross_attentions][1:-1]
    expected = torch.stack(steps, 2)[..., :FEATURES]
    tokens = output.sequences[0, 2:-1].tolist()
    caption = captioner.caption(PHOTOS[0], num_beams=1, no_repeat_ngram=0, max_length=7)
    assert list(caption.tokens) == tokens and len(set(tokens)) > 3
    attention = captioner.explain(PHOTOS[0], caption).attention
    assert (attention.grid_size, attention.num_prefix_tokens) == ((4, 3), 1)
    weights = torch.from_numpy(attention.weights)
    torch.testing.assert_close(weights, expected, atol=1e-5, rtol=0)


def test_a_token_tree_is_rated_as_the_sentence(both):
    """BART's decoder counts its positions itself, which is wrong in a tree."""
    check_token_tree(both[2].network, PHOTOS, 200)


def test_gradients_are_those_of_whole_matrices(both, tmp_path):
    """Of the last token, which no other token's attention lies between."""
    _, processor, captioner = both
    model = save_florence2(tmp_path)  # untouched by ours
    tokens = list(captioner.caption(PHOTOS[0], num_beams=1, max_length=5).tokens)
    output = model(
        **make_inputs(processor, photos=PHOTOS[:1]),
        decoder_input_ids=torch.tensor([[1, 0, *tokens[:-1]]]),
        output_attentions=True,
        use_cache=False,
    )
    rating = output.logits[0, -1].log_softmax(-1)[tokens[-1]]
    expected = torch.stack(torch.autograd.grad(rating, output.cross_attentions))
    expected = expected[:, 0, :, -1, :FEATURES]
    photo = captioner.encode(PHOTOS[:1])[0]
    gradients = replay_with_gradients(captioner.network, photo, tokens).gradients
    assert np.abs(gradients).max() > 1e-4
    torch.testing.assert_close(
        torch.from_numpy(gradients[:, :, -1]), expected, atol=1e-5, rtol=1e-3
    )


def test_another_prompt_writes_something_else_with_the_same_weights(both):
    captioner = both[2]
    other = captioner.with_prompt("Name the colours.")
    assert (captioner.prompt, other.prompt) == (
        "What does the image describe?",
        "Name the colours.",
    )
    assert other.network.encoder is captioner.network.encoder
    encoded = captioner.encode(PHOTOS[:1])[0]  # once for both
    assert other.caption(encoded).tokens != captioner.caption(encoded).tokens


def test_a_prompts_special_tokens_are_text(both):
    prompt = both[2].with_prompt("</s><image>").network.decoder.prompt.tolist()
    assert (prompt[0], prompt[-1]) == (0, 1)
    special = {0, 1, 2, both[0].config.image_token_id}
    assert not special & set(prompt[1:-1]) and len(prompt) > 4
    assert both[2].explain(PHOTOS[0], "A <s> dog.").heatmap(word=1).shape == (4, 3)


def test_prompts_that_do_not_fit_are_refused(both):
    for prompt, message in (
        ("many words " * 50, r"photo and prompt have 13 \+ \d+ tokens"),
        ("a" * 1001, "more than 1,000 characters"),
        (3, "must be a text, not 3"),
        (" ", "must be a text"),
        ("\udc80", "not UTF-8"),
    ):
        with pytest.raises(OptionError, match=message):
            both[2].with_prompt(prompt)


def test_runners_up_and_streams(both):
    captioner = both[2]
    caption = captioner.caption(PHOTOS[0], max_length=6)
    assert list(captioner.stream(PHOTOS[0], max_length=6))[-1].tokens == caption.tokens
    assert all(captioner.alternatives(PHOTOS[0], caption))


def test_microsofts_own_files_are_told_where_to_look(tmp_path):
    (tmp_path / "config.json").write_text(
        '{"model_type": "florence2", "vision_config": {"model_type": "davit"}}'
    )
    with pytest.raises(CheckpointError, match="florence-community/Florence-2-base"):
        load(tmp_path)
