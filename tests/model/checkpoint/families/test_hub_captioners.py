"""Captioners of the hub, of every family: the same captions, logits and attention as transformers.

Each is built small and random by transformers' own classes, saved in the hub's layout and loaded
by `load`.
"""

import shutil

import pytest
import torch
from transformers import (
    GPT2Config,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
)

from model import CheckpointError, OptionError, load
from model.__main__ import main
from model.checkpoint.families.vit_gpt2 import rename_gpt2_tensors
from model.network.decoder import TextDecoder
from model.network.transformers_decoder import TransformersDecoder
from tests.support.hub import PHOTOS, SIZES, blip, change_settings, encoder_decoder, git, save

OURS = [(encoder, "gpt2") for encoder in ("vit", "deit", "dinov2", "beit", "swin")]
THEIRS = [("vit", "bert"), ("vit", "roberta"), ("swin", "bert"), ("beit", "roberta")]
THEIRS += [("blip", ""), ("git", "")]
QUICK = [OURS[0], THEIRS[0], *THEIRS[-2:]]  # a family of each kind
FAMILIES = pytest.mark.parametrize(
    "encoder, decoder",
    [pytest.param(*f, marks=() if f in QUICK else pytest.mark.slow) for f in OURS + THEIRS],
)


def hub_model(encoder: str, decoder: str, seed: int = 0) -> tuple:
    """A captioner of transformers and its tokenizer; half have a projection of the image."""
    if not decoder:
        return {"blip": blip, "git": git}[encoder](seed)
    return encoder_decoder(encoder, decoder, width=48 if seed % 2 else 32, seed=seed)


def generation(model):
    """The part that `generate` takes its settings from."""
    return getattr(model, "text_decoder", model).generation_config


@pytest.mark.slow
@FAMILIES
@pytest.mark.parametrize("seed", range(2))
def test_captions_are_those_of_generate(encoder, decoder, seed, tmp_path):
    model, tokenizer = hub_model(encoder, decoder, seed)
    captioner = load(save(tmp_path, model, tokenizer))
    ours = (encoder, decoder) in OURS
    assert isinstance(captioner.network.decoder, TextDecoder) == ours
    end, pixels = captioner.network.tokenizer.end, captioner.network.pixel_values(PHOTOS)
    for options in (
        {"num_beams": 1},
        {"num_beams": 3},
        {"num_beams": 4, "early_stopping": True},
        {"num_beams": 4, "early_stopping": "never", "length_penalty": 2.0},
        {"num_beams": 3, "length_penalty": -1.0},
        {"num_beams": 3, "no_repeat_ngram_size": 2, "min_length": 5},
    ):
        expected = model.generate(pixel_values=pixels, max_length=14, **options).tolist()
        options = {"early_stopping": False, "max_length": 13} | options
        options["min_length"] = max(0, options.get("min_length", 0) - 1)  # the start token counts
        options["no_repeat_ngram"] = options.pop("no_repeat_ngram_size", 0)
        best = [captions[0] for captions in captioner.captions(PHOTOS, **options)]
        for caption, (_, *row) in zip(best, expected, strict=True):
            row = row[: row.index(end) + 1] if end in row else row
            assert list(caption.tokens) == row, options
            text = tokenizer.decode(row, skip_special_tokens=True)
            assert "".join(caption.text.split()) == "".join(text.split())


@FAMILIES
def test_weights_are_those_of_generate(encoder, decoder, tmp_path):
    """The maps' attention is what transformers used when it chose each word."""
    model, tokenizer = hub_model(encoder, decoder)
    captioner = load(save(tmp_path, model, tokenizer))
    caption = captioner.caption(PHOTOS[0], num_beams=3, max_length=8, early_stopping=False)
    weights = torch.from_numpy(captioner.explain(PHOTOS[0], caption).attention.weights)
    pixels = captioner.network.pixel_values(PHOTOS[:1])
    if encoder == "blip":  # whose `generate` gives no weights: a pass over the finished caption
        inputs = [captioner.network.tokenizer.start, *caption.tokens[:-1]]
        output = model.text_decoder(
            input_ids=torch.tensor([inputs]),
            encoder_hidden_states=model.vision_model(pixels).last_hidden_state,
            is_decoder=True,
            output_attentions=True,
        )
        expected = torch.stack(output.cross_attentions)[:, 0]
    else:
        output = model.generate(
            pixel_values=pixels,
            num_beams=3,
            max_length=9,
            output_attentions=True,
            return_dict_in_generate=True,
        )
        assert output.sequences[0, 1:].tolist()[: len(caption.tokens)] == list(caption.tokens)
        beams = [0, *output.beam_indices[0, 1 : len(caption.tokens)].tolist()]
        attentions = output.attentions if encoder == "git" else output.cross_attentions
        # GIT's words look at themselves in the same row, behind the 17 image tokens
        seen = slice(17 if encoder == "git" else None)
        steps = [torch.stack(layers)[..., seen] for layers in attentions]
        # each step (layers, beams, heads, 1, S), of which the chosen beam
        expected = torch.stack([w[:, b, :, -1] for b, w in zip(beams, steps, strict=False)], 2)
    torch.testing.assert_close(weights, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("options", [{"num_beams": 3, "max_length": 9}, {"max_new_tokens": 7}])
@pytest.mark.parametrize("encoder, decoder", QUICK)
def test_settings_are_those_of_the_checkpoint(encoder, decoder, options, tmp_path):
    """generation_config.json, as for transformers; BLIP's come with its text half."""
    model, tokenizer = hub_model(encoder, decoder)
    settings = model.config.text_config if encoder == "blip" else model.generation_config
    folder = save(tmp_path, model, tokenizer)
    if encoder == "blip":
        change_settings(folder, "config.json", text_config=settings.to_dict() | options)
    else:
        change_settings(folder, "generation_config.json", **options)
    captioner = load(folder)
    again = type(model).from_pretrained(folder)
    pixels = captioner.network.pixel_values(PHOTOS)
    for caption, (_, *row) in zip(
        captioner.captions(PHOTOS), again.generate(pixel_values=pixels).tolist(), strict=True
    ):
        assert list(caption[0].tokens) == row[: len(caption[0].tokens)]
        assert not set(row[len(caption[0].tokens) :]) - {captioner.network.tokenizer.end, 0}


@torch.inference_mode()
def test_both_decoders_compute_the_same(saved):
    folder, model, _ = saved
    captioner = load(folder)
    theirs = TransformersDecoder(model.decoder, 40, model.enc_to_dec_proj)
    features = captioner.network.encode(PHOTOS[:2])
    tokens = torch.randint(300, (6, 5))  # three rows for each photo
    outputs = []
    for decoder in (captioner.network.decoder, theirs):
        first = decoder(tokens[:, :2], decoder.look_at(features))
        with pytest.raises(ValueError, match="rows"):
            decoder(tokens[:4, :2], decoder.look_at(features[:1].expand(3, -1, -1)))
        outputs.append((first.logits, decoder(tokens[:, 2:], first.cache, need_weights=True)))
        with pytest.raises(ValueError, match="42 tokens, but the decoder has 40 positions"):
            decoder(torch.zeros(6, 40, dtype=torch.long), first.cache)
    (ours, later), (expected, expected_later) = outputs
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(later.logits, expected_later.logits)
    for name in ("cross_attn_weights", "self_attn_weights"):
        layers = zip(getattr(later, name), getattr(expected_later, name), strict=True)
        for mine, other in layers:
            torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("changes", [{"activation_function": "relu"}, {"n_inner": 100}])
def test_a_gpt2_that_is_not_ours_stays_transformers(changes, tmp_path):
    """An MLP of another width is ours; another activation, or an output head of its own, is not."""
    model, tokenizer = encoder_decoder(**changes)
    folder = save(tmp_path, model, tokenizer)
    assert isinstance(load(folder).network.decoder, TextDecoder) == ("n_inner" in changes)
    model.decoder.config.tie_word_embeddings = model.config.tie_word_embeddings = False
    weight = model.decoder.lm_head.weight
    model.decoder.lm_head.weight = torch.nn.Parameter(weight.detach() * 1.1)
    captioner = load(save(tmp_path, model, tokenizer))
    assert isinstance(captioner.network.decoder, TransformersDecoder)
    row = model.generate(captioner.network.pixel_values(PHOTOS[:1]), max_length=9)[0, 1:].tolist()
    tokens = captioner.caption(PHOTOS[0], max_length=8).tokens
    assert list(tokens) == row[: len(tokens)]


@torch.inference_mode()
@pytest.mark.slow
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
    ours.load_state_dict(rename_gpt2_tensors(model.decoder))
    features, tokens = torch.randn(2, 197, 768), torch.randint(5000, (2, 12))
    expected = model.decoder(tokens, encoder_hidden_states=features).logits
    logits = ours(tokens, ours.look_at(features)).logits
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


NO_ROLLOUT = r"\(swin\) cannot be rolled out: it attends within windows"
NO_OCCLUSION = r"\(\w+\) cannot leave patches out: (its windows|positions enter)"


@FAMILIES
def test_everything_works_on_it(encoder, decoder, tmp_path, capsys):
    folder = save(tmp_path / "it", *hub_model(encoder, decoder))
    photo = tmp_path / "photo.png"
    PHOTOS[0].save(photo)
    assert main(["info", "--checkpoint", str(folder)]) == 0
    assert ("vision-encoder-decoder" if decoder else encoder) in capsys.readouterr().out
    arguments = ["explain", str(photo), "--checkpoint", str(folder), "--text", "A dog runs."]
    assert main([*arguments, "--output", str(tmp_path / "maps.png")]) == 0
    captioner = load(folder)
    caption = captioner.caption(photo)
    assert captioner.alternatives(photo, caption)
    assert list(captioner.stream(photo))[-1].tokens == caption.tokens
    for method, unable_encoders, message in (
        ("gradient-rollout", ("swin",), NO_ROLLOUT),
        ("occlusion", ("swin", "beit"), NO_OCCLUSION),
    ):
        if encoder in unable_encoders:
            with pytest.raises(OptionError, match=message):
                captioner.explain(photo, caption, methods=[method])
        else:
            maps = captioner.explain(photo, caption, methods=[method]).heatmaps(method)
            assert maps[0].shape == (4, 4) and any(m.max() > 0 for m in maps)
    with pytest.raises(CheckpointError, match="only ours are saved"):
        captioner.save_pretrained(tmp_path / "copy")


def test_lengths_and_draws_are_transformers_defaults(saved, tmp_path):
    copy = shutil.copytree(saved[0], tmp_path / "copy")
    assert load(copy).options().max_length == 20  # new tokens
    change_settings(copy, "generation_config.json", do_sample=True)
    assert load(copy).options().top_k == 50
    change_settings(copy, "generation_config.json", top_k=7)
    assert load(copy).options().top_k == 7
