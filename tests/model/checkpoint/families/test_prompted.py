"""Captioners that hold the photo in their prompt: the same words and attention as transformers."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    Idefics3ImageProcessor,
    Lfm2Config,
    PixtralVisionConfig,
    Qwen2VLImageProcessor,
)

from model import CheckpointError, OptionError, load
from model.explain.replay import replay, replay_with_gradients
from tests.support.hub import change_settings, check_token_tree
from tests.support.prompted_hub import FAMILIES, QWENS, make_qwen2_5, save_prompted

LENGTH = 9
ALIKE = ("idefics3", "qwen2_vl")  # read by the file of another family, in the same way
GRIDS = dict.fromkeys(FAMILIES, (4, 4)) | dict.fromkeys(QWENS, (16, 16))
PIXELS = np.random.default_rng(3).integers(0, 256, (2, 6, 9, 3), dtype=np.uint8)
PHOTOS = [Image.fromarray(pixels).resize((60, 40)) for pixels in PIXELS]


@pytest.fixture(
    scope="module",
    params=[pytest.param(f, marks=[pytest.mark.slow] if f in ALIKE else []) for f in FAMILIES],
)
def both(request, tmp_path_factory):
    """transformers' model and our captioner of the same files."""
    folder = tmp_path_factory.mktemp(request.param)
    model = save_prompted(request.param, folder)
    return model, load(folder)


def make_inputs(model, captioner, photos):
    """What transformers' model reads: the pixels and the prompt."""
    pixels = captioner.network.pixel_values(photos)
    ids = captioner.network.decoder.prompt.expand(len(photos), -1)
    if model.config.model_type in ("idefics3", "smolvlm"):  # a photo may have several tiles
        pixels = pixels[:, None]
    inputs = {"pixel_values": pixels, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if model.config.model_type == "paligemma":  # the prompt is read in both directions
        inputs["token_type_ids"] = torch.zeros_like(ids)
    if model.config.model_type == "gemma3":  # the photo is
        inputs["token_type_ids"] = (ids == model.config.image_token_id).long()
    if model.config.model_type == "llava_onevision":  # several photos of one text: none is cut
        inputs["pixel_values"] = pixels[:, None]
        inputs["image_sizes"] = torch.tensor([[32, 32]] * len(photos))
        inputs["batch_num_images"] = torch.tensor([2])
    if model.config.model_type.startswith("qwen"):
        patches, rows, cols = Qwen2VLImageProcessor().patchify(pixels, 2, 2, 2)
        inputs["pixel_values"] = patches.flatten(0, 1)
        inputs["image_grid_thw"] = torch.tensor([[1, rows, cols]] * len(photos))
        inputs["mm_token_type_ids"] = (ids == model.config.image_token_id).int()
    return inputs


@pytest.mark.parametrize("num_beams", [1, 3])
def test_captions_are_those_of_generate(both, num_beams):
    model, captioner = both
    inputs = make_inputs(model, captioner, PHOTOS[:2])
    settings = {"max_new_tokens": LENGTH, "do_sample": False, "num_beams": num_beams}
    expected = model.generate(**inputs, **settings)[:, inputs["input_ids"].shape[1] :].tolist()
    options = {"num_beams": num_beams, "max_length": LENGTH, "early_stopping": False}
    written = [captions[0] for captions in captioner.captions(PHOTOS[:2], **options)]
    for caption, row in zip(written, expected, strict=True):
        assert list(caption.tokens) == row[: len(caption.tokens)]
        assert not set(row[len(caption.tokens) :]) - {model.generation_config.pad_token_id}
    assert written[0].tokens != written[1].tokens  # or the photo would not count


def test_weights_are_those_of_generate(both):
    model, captioner = both
    inputs = make_inputs(model, captioner, PHOTOS[:1])
    output = model.generate(
        **inputs,
        max_new_tokens=LENGTH,
        do_sample=False,
        output_attentions=True,
        return_dict_in_generate=True,
    )
    columns, length = captioner.network.decoder.columns, inputs["input_ids"].shape[1]
    steps = [torch.stack(layers)[:, 0, :, -1] for layers in output.attentions]
    # each step (layers, heads, the sequence so far), of which the photo
    expected = torch.stack([step[..., :length][..., columns] for step in steps], 2)
    caption = captioner.caption(PHOTOS[0], num_beams=1, max_length=LENGTH)
    explanation = captioner.explain(PHOTOS[0], caption)
    attention = explanation.attention
    weights = torch.from_numpy(attention.weights)
    assert attention.grid_size == GRIDS[model.config.model_type]
    torch.testing.assert_close(weights, expected, atol=1e-5, rtol=0)
    assert explanation.earlier_words(0) is None, "its prompt has the photo: not given"


def test_a_token_tree_is_rated_as_the_sentence(both):
    check_token_tree(both[1].network, PHOTOS[:2], 200)


def test_gradients_are_those_of_whole_matrices(both):
    """Of the last token, which no other token's attention lies between."""
    model, captioner = both
    network = captioner.network
    photo = captioner.encode(PHOTOS[:1])[0]
    tokens = list(captioner.caption(PHOTOS[0], num_beams=1, max_length=5).tokens)
    inputs = make_inputs(model, captioner, PHOTOS[:1])
    ids = torch.cat([inputs["input_ids"], torch.tensor([tokens[:-1]])], 1)
    inputs |= {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if "mm_token_type_ids" in inputs:
        inputs["mm_token_type_ids"] = (ids == model.config.image_token_id).int()
    if "token_type_ids" in inputs:
        is_word = int(model.config.model_type == "paligemma")  # 1 is a photo's for Gemma 3
        later = torch.full((1, len(tokens) - 1), is_word)
        inputs["token_type_ids"] = torch.cat([inputs["token_type_ids"], later], 1)
    output = model(**inputs, output_attentions=True, use_cache=False)
    rating = output.logits[0, -1].log_softmax(-1)[tokens[-1]]
    expected = torch.stack(torch.autograd.grad(rating, output.attentions))[:, 0, :, -1]
    expected = expected[..., network.decoder.columns]
    gradients = torch.from_numpy(replay_with_gradients(network, photo, tokens).gradients)[:, :, -1]
    assert gradients.abs().max() > 1e-4
    torch.testing.assert_close(gradients, expected, atol=1e-5, rtol=1e-3)
    assert (replay(network, photo, tokens).weights >= 0).all()


@torch.inference_mode()
def test_the_grid_is_in_the_photos_order(both, tmp_path):
    """A cell that is painted changes its own feature most; small weights hardly mix patches."""
    model, captioner = both
    encoder = captioner.network.encoder
    saved = {name: p.clone() for name, p in encoder.named_parameters()}
    for name, p in encoder.named_parameters():
        if ("attn" in name or "mlp" in name) and p.dim() == 2:
            p.mul_(0.02)
    plain = torch.zeros(1, 3, *encoder.image_size)
    height, width = (s // n for s, n in zip(encoder.image_size, encoder.grid_size, strict=True))
    before = encoder(plain)[0]
    rows, columns = encoder.grid_size
    painted = plain.repeat(rows * columns, 1, 1, 1)
    for cell in range(rows * columns):
        row, column = divmod(cell, columns)
        top, left = row * height, column * width
        painted[cell, :, top : top + height, left : left + width] = 2
    changes = (encoder(painted) - before).norm(dim=-1)
    expected = encoder.num_prefix_tokens + torch.arange(rows * columns)
    assert changes.argmax(1).equal(expected)
    for name, p in encoder.named_parameters():
        p.copy_(saved[name])


def test_what_a_user_types_stays_text(both):
    model, captioner = both
    placeholder = captioner.network.tokenizer.tokenizer.id_to_token(model.config.image_token_id)
    for text in ("</s>", f"a {placeholder} here"):
        tokens, _ = captioner.network.tokenizer.encode(text)
        assert not {model.config.image_token_id, captioner.network.tokenizer.end} & set(tokens)
    assert captioner.explain(PHOTOS[0], f"A {placeholder} dog.").heatmap(word=1).any()


def test_typed_sentences_begin_as_written_ones(both):
    """Behind "Assistant:" a space comes first, on a new line none."""
    tokenizer = both[1].network.tokenizer
    pieces = [tokenizer.tokenizer.id_to_token(i) for i in tokenizer.encode("A dog.")[0]]
    is_new_line = both[0].config.model_type not in ("llava", "idefics3", "smolvlm")
    assert pieces[0].startswith("Ġ") != is_new_line
    assert [word.text for word in tokenizer.words(tokenizer.encode("A dog.")[0])] == ["A", "dog."]


def test_methods_that_need_patches_are_refused(both):
    _, captioner = both
    with pytest.raises(OptionError, match="cannot leave patches out"):
        captioner.explain(PHOTOS[0], "A dog.", methods=["occlusion"])
    with pytest.raises(OptionError, match="cannot be rolled out"):
        captioner.explain(PHOTOS[0], "A dog.", methods=["gradient-rollout"])


def test_runners_up_and_streams(both):
    _, captioner = both
    caption = captioner.caption(PHOTOS[0], num_beams=1, max_length=6)
    assert list(captioner.stream(PHOTOS[0], num_beams=1, max_length=6))[-1].tokens == caption.tokens
    assert captioner.alternatives(PHOTOS[0], caption)


@pytest.mark.parametrize(
    "family, reason",
    [
        ("blip-2", "through a few queries"),
        ("instructblip", "through a few queries"),
        ("kosmos-2", "through a few queries"),
        ("moondream1", "its own program"),
        ("internvl_chat", "its own program, .* with -hf"),
        ("qwen3_5", "no attention weights"),
        ("qwen3_5_moe", "no attention weights"),
        ("lfm2_vl", "no attention weights"),
    ],
)
def test_what_does_not_fit_is_told_why(family, reason, tmp_path):
    (tmp_path / "config.json").write_text(f'{{"model_type": "{family}"}}')
    with pytest.raises(CheckpointError, match=f"a {family} model is not read: .*{reason}"):
        load(tmp_path)


@pytest.mark.parametrize(
    "half, config, reason",
    [
        (
            "text_config",
            Lfm2Config(num_hidden_layers=2, layer_types=["conv", "full_attention"]),
            r"no attention weights \(conv\)",
        ),
        ("vision_config", PixtralVisionConfig(), "'pixtral'; these can be read: clip_vision_model"),
    ],
)
def test_halves_of_another_kind_are_refused(half, config, reason, tmp_path):
    save_prompted("llava", tmp_path)
    change_settings(tmp_path, "config.json", **{half: config.to_dict()})
    with pytest.raises(CheckpointError, match=reason):
        load(tmp_path)


TEMPLATE = """{% for line in messages[0]['content'] %}{% if line['type'] == 'image' %}<image>
{% else %}{{ line['text'] }}{% endif %}{% endfor %} Answer:"""


def test_the_prompt_is_the_checkpoints_own_and_its_photo_whole(tmp_path):
    """By its chat template; its own image processor would cut the photo into tiles."""
    save_prompted("smolvlm", tmp_path)
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    sides = {"size": {"longest_edge": 128}, "max_image_size": {"longest_edge": 64}}
    Idefics3ImageProcessor(**sides).save_pretrained(tmp_path)
    network = load(tmp_path).network
    prompt = network.tokenizer.tokenizer.decode(
        network.decoder.prompt.tolist(), skip_special_tokens=False
    )
    around = "<fake_token_around_image>"
    assert prompt.startswith(f"{around}<global-img>" + "<image>" * 16 + around)
    assert prompt.endswith("Describe the image in one short sentence. Answer:")
    assert network.pixel_values(PHOTOS).shape == (2, 3, 64, 64)


def test_several_files_and_several_end_tokens(tmp_path):
    """Any of them ends a caption, as in `generate`."""
    model = save_prompted("internvl", tmp_path)
    plain = load(tmp_path)
    tokens = plain.caption(PHOTOS[0], num_beams=1, max_length=LENGTH).tokens
    assert tokens[3] not in tokens[:3]
    model.generation_config.eos_token_id = [1, tokens[3]]
    (tmp_path / "model.safetensors").unlink()
    model.save_pretrained(tmp_path, max_shard_size="50KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    captioner = load(tmp_path)
    caption = captioner.caption(PHOTOS[0], num_beams=1, max_length=LENGTH)
    assert caption.tokens == tokens[:4]
    assert "".join(word.text for word in caption.words) == "".join(
        word.text for word in captioner.network.tokenizer.words(tokens[:3])
    )
    inputs = make_inputs(model, captioner, PHOTOS[:1])
    settings = {"max_new_tokens": LENGTH, "do_sample": False, "num_beams": 3}
    row = model.generate(**inputs, **settings)[0, inputs["input_ids"].shape[1] :].tolist()
    beams = captioner.caption(PHOTOS[0], num_beams=3, max_length=LENGTH, early_stopping=False)
    assert list(beams.tokens) == row[: len(beams.tokens)]


def test_settings_that_draw_words_are_left_out(tmp_path):
    """Those of Qwen: a caption is the likeliest one, unless drawing is asked for."""
    model = save_prompted("qwen2_5_vl", tmp_path)
    expected = load(tmp_path).caption(PHOTOS[0], max_length=LENGTH)
    settings = model.generation_config
    settings.update(do_sample=True, temperature=1e-6, top_k=1, repetition_penalty=1.05)
    settings.save_pretrained(tmp_path)
    captioner = load(tmp_path)
    assert not captioner.options().sample
    assert captioner.caption(PHOTOS[0], max_length=LENGTH) == expected


def test_patches_that_would_make_a_huge_photo_are_refused(tmp_path, monkeypatch):
    """Each of Qwen's photos is 16 times as wide as two patches."""
    monkeypatch.setitem(FAMILIES, "qwen2_5_vl", lambda: make_qwen2_5(patch_size=65))
    save_prompted("qwen2_5_vl", tmp_path)
    with pytest.raises(CheckpointError, match="its photos have 2080 pixels, more than 2048"):
        load(tmp_path)


def test_more_than_the_machine_holds_is_told_before_it_is_read(tmp_path, monkeypatch):
    save_prompted("llava", tmp_path)
    monkeypatch.setattr("model.checkpoint.limits.measure_memory", lambda: 1000)
    with pytest.raises(CheckpointError, match="GB of memory, of which this machine has 0.0"):
        load(tmp_path)
