"""ViT + GPT-2 as the hub keeps it: on our decoder the same captions, logits and attention."""

import json
import shutil
from functools import partial

import pytest
import torch
from huggingface_hub import snapshot_download
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    DeiTConfig,
    Dinov2Config,
    GPT2Config,
    GPT2TokenizerFast,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTImageProcessor,
)

from model import CheckpointError, load
from model.__main__ import main
from model.decoder import TextDecoder
from model.hub import PICKLED, WEIGHTS
from model.vit_gpt2 import decoder_state
from tests.tiny import SENTENCES, draw_photo

ENCODERS = [ViTConfig, DeiTConfig, Dinov2Config, ViTConfig]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 64, "image_size": 32, "patch_size": 8}


def hub_tokenizer() -> GPT2TokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return GPT2TokenizerFast(tokenizer_object=tokenizer)


def hub_model(encoder=ViTConfig, width=48, seed=0, scale=6.0, **decoder) -> tuple:
    """A random captioner of the hub whose words differ from photo to photo, and its tokenizer."""
    torch.manual_seed(seed)
    tokenizer = hub_tokenizer()
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    gpt2 = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=40,
        n_embd=width,
        n_layer=2,
        n_head=4,
        bos_token_id=end,
        eos_token_id=end,
        add_cross_attention=True,
        **decoder,
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder(**SIZES), gpt2)
    model = VisionEncoderDecoderModel(config=config).eval()
    model.set_attn_implementation("eager")
    for part in (model.config, model.generation_config):
        part.decoder_start_token_id = part.eos_token_id = part.pad_token_id = end
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "decoder" in name and p.dim() == 2:
                p.mul_(scale)
            elif p.dim() == 1:  # biases and norms too, or they are not tested
                p.add_(0.1 * torch.randn_like(p))
    return model, tokenizer


def save(folder, model, tokenizer):
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model, tokenizer = hub_model()
    return save(tmp_path_factory.mktemp("vit-gpt2"), model, tokenizer), model, tokenizer


PHOTOS = [draw_photo(60, 40, (i * 60, 255 - i * 60, 90)) for i in range(4)]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 1},
        {"num_beams": 3},
        {"num_beams": 4, "early_stopping": True},
        {"num_beams": 4, "early_stopping": "never", "length_penalty": 2.0},
        {"num_beams": 3, "length_penalty": -1.0},
        {"num_beams": 3, "no_repeat_ngram_size": 2, "min_length": 5},
    ],
    ids=str,
)
def test_captions_are_those_of_generate(seed, options, tmp_path):
    """Settings come from generation_config.json, as for transformers."""
    model, tokenizer = hub_model(ENCODERS[seed], 32 if seed > 1 else 48, seed)
    end = model.config.eos_token_id
    with torch.no_grad():  # some captions end, some are cut
        model.decoder.transformer.wte.weight[end] *= 1 + seed / 2
    for name, value in {"max_length": 14, **options}.items():
        setattr(model.generation_config, name, value)
    captioner = load(save(tmp_path, model, tokenizer))
    pixels = captioner.pixel_values(PHOTOS)
    expected = model.generate(pixels)
    found = [captions[0] for captions in captioner.captions(PHOTOS)]
    for caption, row in zip(found, expected.tolist(), strict=True):
        row = row[1:]
        if end in row:
            row = row[: row.index(end) + 1]
        assert list(caption.tokens) == row
        text = tokenizer.decode(row, skip_special_tokens=True)
        assert "".join(caption.text.split()) == "".join(text.split())


def test_weights_are_those_of_generate(saved):
    """The maps' attention is what transformers used when it chose each word."""
    folder, model, _ = saved
    captioner = load(folder)
    output = model.generate(
        captioner.pixel_values(PHOTOS[:1]),
        num_beams=3,
        max_length=9,
        output_attentions=True,
        return_dict_in_generate=True,
    )
    said = output.sequences[0, 1:].tolist()
    caption = captioner.caption(PHOTOS[0], num_beams=3, max_length=8)
    assert list(caption.tokens) == said[: len(caption.tokens)]
    explanation = captioner.explain(PHOTOS[0], caption)
    found = torch.from_numpy(explanation.attention.weights)
    assert found.shape == (2, 4, len(caption.tokens), 17)
    for t in range(len(caption.tokens)):
        beam = max(0, int(output.beam_indices[0, t])) if t else 0
        for layer, weights in enumerate(output.cross_attentions[t]):
            torch.testing.assert_close(found[layer, :, t], weights[beam, :, -1], atol=1e-5, rtol=0)


@torch.inference_mode()
def test_logits_at_the_real_size():
    """12 layers, 768 wide, as nlpconnect/vit-gpt2-image-captioning: the decoder's own part."""
    torch.manual_seed(0)
    gpt2 = GPT2Config(vocab_size=5000, add_cross_attention=True)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(**SIZES), gpt2)
    config.encoder.hidden_size = 768  # as the decoder: nothing to project
    model = VisionEncoderDecoderModel(config=config).eval()
    ours = TextDecoder(
        vocab_size=5000, max_length=1024, width=768, num_layers=12, num_heads=12, image_width=768
    ).eval()
    ours.load_state_dict(decoder_state(model.decoder))
    features, tokens = torch.randn(2, 197, 768), torch.randint(5000, (2, 12))
    expected = model.decoder(tokens, encoder_hidden_states=features).logits
    found = ours(tokens, ours.look_at(features)).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_everything_works_on_it(saved, tmp_path, capsys):
    folder, *_ = saved
    photo = tmp_path / "photo.png"
    PHOTOS[0].save(photo)
    assert main(["caption", str(photo), "--checkpoint", str(folder)]) == 0
    assert main(["info", "--checkpoint", str(folder)]) == 0
    assert "vision-encoder-decoder" in capsys.readouterr().out
    for method in ("gradient", "gradient-rollout", "occlusion"):
        arguments = ["explain", str(photo), "--method", method, "--checkpoint", str(folder)]
        assert main([*arguments, "--output", str(tmp_path / "maps.png")]) == 0
    captioner = load(folder)
    caption = captioner.caption(photo)
    assert captioner.alternatives(photo, caption)
    assert list(captioner.stream(photo))[-1].tokens == caption.tokens
    with pytest.raises(CheckpointError, match="only ours are saved"):
        captioner.save_pretrained(tmp_path / "copy")


def change(folder, name, **values):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_what_does_not_fit_is_listed(saved, tmp_path):
    folder, model, tokenizer = saved
    state = model.state_dict()
    lost, odd = "decoder.transformer.h.0.mlp.c_fc.weight", "decoder.transformer.ln_f.weight"
    state.pop(lost)
    state[odd], state["decoder.extra"] = torch.ones(3), torch.ones(3)
    copy = shutil.copytree(folder, tmp_path / "copy")
    save_file({k: v.clone() for k, v in state.items()}, copy / WEIGHTS, {"format": "pt"})
    with pytest.raises(CheckpointError) as told:
        load(copy)
    for part in (f"missing: {lost}", f"wrong shape: {odd}", "unexpected: decoder.extra"):
        assert part in str(told.value)
    assert "\n" not in str(told.value)


def test_pickled_weights_are_refused_unless_asked_for(saved, tmp_path):
    folder, model, _ = saved
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / WEIGHTS).unlink()
    torch.save(model.state_dict(), copy / PICKLED)
    with pytest.raises(CheckpointError, match="pickled.*--allow-pickle"):
        load(copy)
    expected = load(folder).caption(PHOTOS[0])
    assert load(copy, allow_pickle=True).caption(PHOTOS[0]).tokens == expected.tokens


@pytest.mark.parametrize(
    "name, values, told",
    [
        ("config.json", {"model_type": "bert"}, "model_type is 'bert' .* not a captioner"),
        ("config.json", {"decoder": {"model_type": "trocr"}}, "only GPT-2 can be read"),
        ("config.json", {"encoder": {"model_type": "swin"}}, "encoder 'swin' is not supported"),
        ("generation_config.json", {"repetition_penalty": 1.5}, "sets repetition_penalty"),
    ],
)
def test_what_cannot_be_read_says_why(saved, tmp_path, name, values, told):
    copy = shutil.copytree(saved[0], tmp_path / "copy")
    change(copy, name, **values)
    with pytest.raises(CheckpointError, match=told):
        load(copy)


@pytest.mark.parametrize("name", ["preprocessor_config.json", "tokenizer.json", WEIGHTS])
def test_missing_files_are_named(saved, tmp_path, name):
    copy = shutil.copytree(saved[0], tmp_path / "copy")
    (copy / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}.*missing"):
        load(copy)


def test_lengths_are_transformers(saved, tmp_path):
    copy = shutil.copytree(saved[0], tmp_path / "copy")
    assert load(copy).options().max_length == 20  # its default of new tokens
    change(copy, "generation_config.json", max_new_tokens=9)
    assert load(copy).options().max_length == 9


def test_a_model_of_the_hub_that_is_not_here():
    with pytest.raises(CheckpointError, match="^nobody/nothing: .*hf download nobody/nothing"):
        load("nobody/nothing")


def test_a_cached_model_of_the_hub_goes_by_its_name(saved, tmp_path, monkeypatch):
    """Its copy's place on this machine is nobody's business."""
    place = tmp_path / "models--some--one"
    shutil.copytree(saved[0], place / "snapshots" / "abc")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("abc")
    monkeypatch.setattr(
        "model.hub.snapshot_download", partial(snapshot_download, cache_dir=tmp_path)
    )
    assert load("some/one").name == "some/one"
    (place / "snapshots" / "abc" / WEIGHTS).unlink()
    with pytest.raises(CheckpointError) as told:
        load("some/one")
    assert str(told.value).startswith("some/one") and str(tmp_path) not in str(told.value)


def test_gpt2_of_another_kind(tmp_path):
    model, tokenizer = hub_model(activation_function="relu")
    with pytest.raises(CheckpointError, match="activation_function 'relu' cannot be read"):
        load(save(tmp_path, model, tokenizer))
