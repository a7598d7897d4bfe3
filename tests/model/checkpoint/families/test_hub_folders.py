"""Folders of the hub as others write them, whole and broken: read right, or one clear line."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BlipImageProcessor,
    BlipProcessor,
    PreTrainedTokenizerFast,
    VisionEncoderDecoderModel,
)

from model import CheckpointError, load
from model.checkpoint.hub import PICKLED, WEIGHTS
from tests.support.hub import PHOTOS, blip, change_settings, encoder_decoder, save


def copy_with_weights(folder, copy, model, **changes):
    """A copy of a checkpoint, with other tensors; None takes one away."""
    state = {k: v.clone().contiguous() for k, v in model.state_dict().items()} | changes
    shutil.copytree(folder, copy)
    kept = {k: v for k, v in state.items() if v is not None and "lm_head" not in k}
    save_file(kept, copy / WEIGHTS, {"format": "pt"})
    return copy


def test_what_does_not_fit_is_listed(saved, tmp_path):
    folder, model, _ = saved
    linear, norm = "decoder.transformer.h.0.mlp.c_fc.weight", "decoder.transformer.ln_f.weight"
    changes = {linear: None, norm: torch.ones(3), "decoder.extra": torch.ones(3)}
    with pytest.raises(CheckpointError) as caught:
        load(copy_with_weights(folder, tmp_path / "copy", model, **changes))
    for part in (f"missing: {linear}", f"wrong shape: {norm}", "unexpected: decoder.extra"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    changes = {norm: torch.full((48,), torch.nan)}
    with pytest.raises(CheckpointError, match=f"not finite: {norm}"):
        load(copy_with_weights(folder, tmp_path / "nan", model, **changes))


def test_weights_in_parts(saved, tmp_path):
    folder, model, tokenizer = saved
    model.save_pretrained(tmp_path / "parts", max_shard_size="50KB")
    for name in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"):
        shutil.copy(folder / name, tmp_path / "parts")
    parts = sorted((tmp_path / "parts").glob("model-*.safetensors"))
    assert len(parts) > 1 and not (tmp_path / "parts" / WEIGHTS).exists()
    expected = load(folder).caption(PHOTOS[0])
    assert load(tmp_path / "parts").caption(PHOTOS[0]).tokens == expected.tokens
    parts[0].unlink()
    with pytest.raises(CheckpointError, match=parts[0].name):
        load(tmp_path / "parts")


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
    "name, values, message",
    [
        ("config.json", {"model_type": "bert"}, "model_type is 'bert' .* not a captioner"),
        ("config.json", {"model_type": "bert", "architectures": {}}, "type is 'bert', not a cap"),
        ("config.json", {"decoder": {"model_type": "trocr"}}, "'trocr'; these can be read: gpt2,"),
        ("config.json", {"decoder": {"model_type": "bert"}}, "is_decoder and add_cross_attention"),
        ("config.json", {"encoder": {"model_type": "pvt"}}, "encoder 'pvt' is not supported"),
        ("generation_config.json", {"repetition_penalty": 1.5}, "have repetition_penalty"),
        ("generation_config.json", {"eos_token_id": [0, 1]}, r"no single eos_token_id .*\[0, 1\]"),
        ("generation_config.json", {"decoder_start_token_id": 999}, "no decoder_start"),
        ("generation_config.json", {"do_sample": True, "num_beams": 2}, "sampling with beams"),
        ("generation_config.json", {"num_beams": "four"}, "num_beams must be .* not 'four'"),
        ("generation_config.json", {"max_length": "ten"}, "max_length must be .* not 'ten'"),
        ("generation_config.json", {"min_length": [1]}, r"min_length must be .* not \[1\]"),
        ("generation_config.json", {"do_sample": True, "num_beams": "4"}, "num_beams must be"),
        ("generation_config.json", {"early_stopping": "soon"}, "early_stopping. must be"),
        ("generation_config.json", {"length_penalty": "x"}, "length_penalty must be"),
        ("preprocessor_config.json", {"size": {"longest_edge": 32}}, "must have height and width"),
        ("preprocessor_config.json", {"size": {"height": 30, "width": 30}}, "patches of 8"),
    ],
)
def test_what_cannot_be_read_says_why(saved, tmp_path, name, values, message):
    copy = shutil.copytree(saved[0], tmp_path / "copy")
    change_settings(copy, name, **values)
    with pytest.raises(CheckpointError, match=message):
        load(copy)


@pytest.mark.parametrize(
    "half, setting, value, message",
    [
        ("decoder", "vocab_size", 2**40, "asks for [0-9,]+ weights, of which its files hold"),
        ("encoder", "hidden_size", 2**30, "asks for"),
        ("encoder", "num_hidden_layers", 10**9, "num_hidden_layers is 1000000000, more than 200"),
    ],
)
def test_sizes_that_no_memory_has(saved, tmp_path, half, setting, value, message):
    copy = shutil.copytree(saved[0], tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    config[half][setting] = value
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=message):
        load(copy)


@pytest.mark.parametrize("name", ["preprocessor_config.json", "tokenizer.json", WEIGHTS])
def test_missing_files_are_named(saved, tmp_path, name):
    copy = shutil.copytree(saved[0], tmp_path / "copy")
    (copy / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}.*missing"):
        load(copy)


def test_settings_that_cannot_be_read_are_no_defaults(saved, tmp_path):
    copy = shutil.copytree(saved[0], tmp_path / "copy")
    (copy / "generation_config.json").write_text("{")
    with pytest.raises(CheckpointError, match="generation_config.json: not valid JSON"):
        load(copy)


@pytest.mark.parametrize(
    "processor",
    [
        {"do_resize": False, "image_processor_type": "ViTImageProcessor"},
        {"do_center_crop": True, "size": {"shortest_edge": 40}, "crop_size": 32},
        {"do_center_crop": True, "size": {"height": 40, "width": 40}, "crop_size": 32},
    ],
    ids=str,
)
def test_photos_are_squashed_to_what_the_encoder_learned_from(saved, tmp_path, processor):
    copy = shutil.copytree(saved[0], tmp_path / "copy")
    kind = {"image_processor_type": "DeiTImageProcessor"}
    change_settings(copy, "preprocessor_config.json", **kind | processor)
    captioner = load(copy)
    assert captioner.network.config.image_size == (32, 32)
    assert captioner.network.pixel_values(PHOTOS).shape == (4, 3, 32, 32)


def test_files_as_they_were_written_years_ago(saved, tmp_path):
    """Settings of `generate` in config.json, and the older names of a processor."""
    copy = shutil.copytree(saved[0], tmp_path / "copy")
    (copy / "generation_config.json").unlink()
    config = json.loads((copy / "config.json").read_text())
    defaults = {"repetition_penalty": 1.0, "diversity_penalty": 0.0, "num_beam_groups": 1}
    defaults |= {
        "typical_p": 1.0,
        "encoder_no_repeat_ngram_size": 0,
        "remove_invalid_values": False,
    }
    decoder = config["decoder"] | defaults | {"max_length": 11, "num_beams": 3}
    change_settings(copy, "config.json", decoder=decoder)
    old = {"feature_extractor_type": "ViTFeatureExtractor", "size": 32, "do_resize": True}
    (copy / "preprocessor_config.json").write_text(json.dumps(old))
    captioner = load(copy)
    expected = VisionEncoderDecoderModel.from_pretrained(copy).generate(
        captioner.network.pixel_values(PHOTOS)
    )
    assert captioner.options().num_beams == 3 and captioner.network.config.image_size == (32, 32)
    for captions, (_, *row) in zip(captioner.captions(PHOTOS), expected.tolist(), strict=True):
        assert list(captions[0].tokens) == row[: len(captions[0].tokens)]


@pytest.mark.slow
def test_two_at_once(tmp_path):
    """transformers exchanges methods of its classes while it loads, and two loads at once leave
    them exchanged."""
    folders = [save(tmp_path / "a", *encoder_decoder()), save(tmp_path / "b", *blip())]
    expected = [load(folder).caption(PHOTOS[0]).tokens for folder in folders]
    with ThreadPoolExecutor(4) as pool:
        captioners = list(pool.map(load, folders * 6))
    assert [c.caption(PHOTOS[0]).tokens for c in captioners] == expected * 6


def test_a_tokenizer_saved_after_training(tmp_path):
    """With its padding and truncation still on: neither has to do with a sentence of one's own."""
    model, tokenizer = encoder_decoder()
    sentence = "A brown dog runs"
    plain = load(save(tmp_path / "plain", model, tokenizer)).network.tokenizer
    tokenizer.backend_tokenizer.enable_padding(length=16)
    tokenizer.backend_tokenizer.enable_truncation(1)
    folder = save(tmp_path / "saved", model, tokenizer)
    assert '"Fixed"' in (folder / "tokenizer.json").read_text()
    assert load(folder).network.tokenizer.encode(sentence) == plain.encode(sentence)


def test_processor_and_start_token_as_others_save_them(tmp_path):
    """BLIP's processor as one file; a captioner that only names the token that begins sentences."""
    model, tokenizer = blip()
    folder = save(tmp_path / "blip", model, tokenizer)
    expected = load(folder).caption(PHOTOS[0]).tokens
    (folder / "preprocessor_config.json").unlink()
    image_processor = BlipImageProcessor(size={"height": 32, "width": 32})
    BlipProcessor(image_processor, tokenizer).save_pretrained(folder)
    assert not (folder / "preprocessor_config.json").exists()
    assert load(folder).caption(PHOTOS[0]).tokens == expected
    folder = save(tmp_path / "vit", *encoder_decoder("vit", "roberta"))
    expected = load(folder).caption(PHOTOS[0]).tokens
    change_settings(folder, "config.json", decoder_start_token_id=None)
    change_settings(folder, "generation_config.json", decoder_start_token_id=None)
    assert load(folder).caption(PHOTOS[0]).tokens == expected


def test_tokenizers_that_cannot_be_read(tmp_path):
    model, tokenizer = encoder_decoder()
    folder = save(tmp_path / "large", model, tokenizer)
    tokenizer.add_tokens([f"<more{i}>" for i in range(9)])
    tokenizer.save_pretrained(folder)
    with pytest.raises(CheckpointError, match="its tokenizer has 309 tokens, its decoder 300"):
        load(folder)
    unigram = Tokenizer(models.Unigram([("<unk>", 0.0), ("\u2581a", -1.0), ("\u2581dog", -2.0)], 0))
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    PreTrainedTokenizerFast(tokenizer_object=unigram).save_pretrained(folder)
    with pytest.raises(CheckpointError, match="neither BPE nor WordPiece"):
        load(folder)


def test_siglip_without_its_head(tmp_path):
    folder = save(tmp_path / "siglip", *encoder_decoder("siglip_vision_model"))
    captioner = load(folder)
    explanation = captioner.explain(PHOTOS[0], captioner.caption(PHOTOS[0]), methods=["rollout"])
    assert explanation.attention.rollout.shape == (16, 16)
