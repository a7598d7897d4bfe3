"""Only the selected parts learn, each at its rate, and adapters leave no trace when merged."""

import pytest
import torch
from torch import nn

from model import Captioner, load
from model.errors import OptionError
from tests.support.tiny import draw_photo, tiny_captioner
from training.loop.learner import Learner
from training.loop.trainable_parameters import (
    freeze_other_parts,
    group_parameters,
    merge_adapters,
)


def create_partly_frozen(tune="decoder", **options):
    network = tiny_captioner().network
    freeze_other_parts(network, tune, **options)
    return network


def list_trained(network):
    return {name for name, p in network.named_parameters() if p.requires_grad}


def test_what_is_trained():
    network = create_partly_frozen()
    assert list_trained(network) == {f"decoder.{n}" for n, _ in network.decoder.named_parameters()}
    trained = list_trained(create_partly_frozen("cross-attention"))
    assert len(trained) == 2 * (2 + 8)  # two blocks, each: a norm, four linear layers
    assert all(".cross_attn" in name for name in trained)
    network = create_partly_frozen(train_encoder=True)
    assert list_trained(network) == {name for name, _ in network.named_parameters()}
    trained = list_trained(create_partly_frozen(train_encoder=True, encoder_blocks=1))
    encoder_names = {name for name in trained if name.startswith("encoder.")}
    norm = {"encoder.final_norm.weight", "encoder.final_norm.bias"}
    assert norm < encoder_names and all(".1." in name for name in encoder_names - norm)
    with pytest.raises(OptionError, match="--encoder-blocks 9: the encoder has 2"):
        create_partly_frozen(train_encoder=True, encoder_blocks=9)


@pytest.mark.parametrize("encoder", [{}, {"train_encoder": True, "encoder_blocks": 1}])
def test_adapters(encoder, tmp_path):
    network = create_partly_frozen("lora", lora_rank=3, **encoder)
    names = list_trained(network)
    assert names and all(".lora_" in name for name in names)
    assert any(name.startswith("encoder.") for name in names) == bool(encoder)
    original = tiny_captioner().network
    photo = original.pixel_values([draw_photo()])
    tokens = torch.tensor([[[original.tokenizer.start, 260, 270]]])

    def compute_logits(network):
        with torch.no_grad():
            return network(tokens, pixel_values=photo)

    # adapters begin at nothing
    torch.testing.assert_close(compute_logits(network), compute_logits(original))
    with torch.no_grad():
        for name, p in network.named_parameters():
            if name in names:
                p.normal_(std=0.3)
    merged = merge_adapters(network)
    assert (compute_logits(merged) - compute_logits(original)).abs().max() > 0.01
    torch.testing.assert_close(
        compute_logits(merged), compute_logits(network), atol=1e-4, rtol=1e-4
    )
    assert list_trained(network) == names  # which can be trained further
    Captioner(merged).save_pretrained(tmp_path, torch.float32)
    torch.testing.assert_close(compute_logits(load(tmp_path).network), compute_logits(merged))


def test_without_adapters_nothing_is_copied():
    network = create_partly_frozen()
    assert merge_adapters(network) is network


def test_two_rates_and_no_decay_on_vectors():
    network = create_partly_frozen(train_encoder=True)
    groups = group_parameters(Learner(network, 0), 1e-3, 1e-5, 0.05)
    assert {(group["lr"], group["weight_decay"]) for group in groups} == {
        (1e-3, 0.05),
        (1e-3, 0.0),
        (1e-5, 0.05),
        (1e-5, 0.0),
    }
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
    for group in groups:
        assert all((p.dim() > 1) == (group["weight_decay"] > 0) for p in group["params"])


def test_linear_layers_alone_get_adapters():
    trained = list_trained(create_partly_frozen("lora", lora_rank=8))
    with_adapter = {name.split(".lora_")[0] for name in trained}
    modules = dict(tiny_captioner().network.named_modules())
    assert all(isinstance(modules[name], nn.Linear) for name in with_adapter)
    assert len(with_adapter) == 2 * (4 + 4 + 2)  # self-attention, cross-attention, MLP
