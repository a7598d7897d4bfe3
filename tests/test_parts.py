"""Only the chosen parts learn, each at its rate, and adapters leave no trace when merged."""

import pytest
import torch
from torch import nn

from model import load
from tests.support.tiny import draw_photo, tiny_captioner
from training.data import DataError
from training.loop.learner import Learner
from training.loop.trainable_parameters import choose_parts, merged, parameter_groups
from training.options import parse


def chosen(*options):
    captioner = tiny_captioner()
    settings = parse(["--data", "x", "--output", "y", *map(str, options)])
    choose_parts(captioner, settings)
    return captioner, settings


def learning(captioner):
    return {name for name, p in captioner.named_parameters() if p.requires_grad}


def test_what_learns():
    captioner, _ = chosen()
    assert learning(captioner) == {f"decoder.{n}" for n, _ in captioner.decoder.named_parameters()}
    captioner, _ = chosen("--tune", "cross-attention")
    assert len(learning(captioner)) == 2 * (2 + 8)  # two blocks, each: a norm, four linear layers
    assert all(".cross_attn" in name for name in learning(captioner))
    captioner, _ = chosen("--encoder-rate", 1e-5)
    assert learning(captioner) == {name for name, _ in captioner.named_parameters()}
    captioner, _ = chosen("--encoder-rate", 1e-5, "--encoder-blocks", 1)
    of_encoder = {name for name in learning(captioner) if name.startswith("encoder.")}
    norm = {"encoder.backbone.layernorm.weight", "encoder.backbone.layernorm.bias"}
    assert norm < of_encoder and all(".1." in name for name in of_encoder - norm)
    with pytest.raises(DataError, match="--encoder-blocks 9: the encoder has 2"):
        chosen("--encoder-rate", 1e-5, "--encoder-blocks", 9)


@pytest.mark.parametrize("encoder", [(), ("--encoder-rate", 1e-5, "--encoder-blocks", 1)])
def test_adapters(encoder, tmp_path):
    captioner, settings = chosen("--tune", "lora", "--lora-rank", 3, *encoder)
    names = learning(captioner)
    assert names and all(".lora_" in name for name in names)
    assert any(name.startswith("encoder.") for name in names) == bool(encoder)
    before = tiny_captioner()
    photo = before.pixel_values([draw_photo()])
    tokens = torch.tensor([[[before.tokenizer.start, 260, 270]]])

    def logits(captioner):
        with torch.no_grad():
            return captioner(tokens, pixel_values=photo)

    torch.testing.assert_close(logits(captioner), logits(before))  # adapters begin at nothing
    with torch.no_grad():
        for name, p in captioner.named_parameters():
            if name in names:
                p.normal_(std=0.3)
    plain = merged(captioner)
    assert (logits(plain) - logits(before)).abs().max() > 0.01
    torch.testing.assert_close(logits(plain), logits(captioner), atol=1e-4, rtol=1e-4)
    assert learning(captioner) == names  # which goes on learning
    plain.save_pretrained(tmp_path, torch.float32)
    torch.testing.assert_close(logits(load(tmp_path)), logits(plain))


def test_without_adapters_nothing_is_copied():
    captioner, _ = chosen()
    assert merged(captioner) is captioner


def test_two_rates_and_no_decay_on_vectors():
    captioner, settings = chosen("--rate", 1e-3, "--encoder-rate", 1e-5)
    groups = parameter_groups(Learner(captioner, 0), settings)
    assert {(g["lr"], g["weight_decay"]) for g in groups} == {
        (1e-3, 0.05),
        (1e-3, 0.0),
        (1e-5, 0.05),
        (1e-5, 0.0),
    }
    assert sum(len(g["params"]) for g in groups) == len(list(captioner.parameters()))
    for group in groups:
        assert all((p.dim() > 1) == (group["weight_decay"] > 0) for p in group["params"])


def test_linear_layers_alone_get_adapters():
    captioner, _ = chosen("--tune", "lora")
    with_adapter = {name.split(".lora_")[0] for name in learning(captioner)}
    plain = dict(tiny_captioner().named_modules())
    assert all(isinstance(plain[name], nn.Linear) for name in with_adapter)
    assert len(with_adapter) == 2 * (4 + 4 + 2)  # self-attention, cross-attention, MLP
