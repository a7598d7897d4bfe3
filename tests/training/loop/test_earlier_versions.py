"""Runs of earlier versions, whose encoder had other names and a tensor that nothing used."""

import pytest
import torch
from safetensors.torch import save_file

from tests.support.tiny import tiny_captioner
from training.loop.learner import Learner, WeightAverage
from training.loop.run_folder import AVERAGE
from training.loop.trainer import drop_unused_parameters


def test_averages_under_the_earlier_names(tmp_path):
    learner = Learner(tiny_captioner().network, 0)
    average = WeightAverage(learner, 0.9)
    name = "captioner.encoder.blocks.1.attn.query.weight"
    earlier = "captioner.encoder.backbone.encoder.layer.1.attention.q_proj.weight"
    mask_token = "captioner.encoder.backbone.embeddings.mask_token"
    written = {earlier: torch.full((32, 32), 3.0), mask_token: torch.zeros(1, 32)}
    save_file(written, tmp_path / AVERAGE)
    before = average.weights["captioner.encoder.class_token"].clone()
    average.load(tmp_path, learner.network)
    assert average.weights[name].eq(3).all()
    assert average.weights["captioner.encoder.class_token"].equal(before)


def test_weights_under_the_earlier_names():
    """As the Trainer reads them."""
    learner = Learner(tiny_captioner().network, 0)
    state = learner.state_dict()
    name = "captioner.encoder.blocks.0.mlp.up.bias"
    earlier = "captioner.encoder.backbone.encoder.layer.0.mlp.fc1.bias"
    state[earlier] = state.pop(name) + 5
    expected = state[earlier].clone()
    learner.load_state_dict(state)
    assert learner.state_dict()[name].equal(expected)


def test_the_optimizers_state_of_a_tensor_that_nothing_used():
    first, unused, second = (torch.nn.Parameter(torch.zeros(n)) for n in (2, 3, 4))
    earlier = torch.optim.AdamW([first, unused, second])
    (first.sum() + 2 * second.sum()).backward()
    earlier.step()
    optimizer = torch.optim.AdamW([first, second])
    with pytest.raises(ValueError, match="doesn't match the size"):
        optimizer.load_state_dict(earlier.state_dict())
    optimizer.register_load_state_dict_pre_hook(drop_unused_parameters)
    optimizer.load_state_dict(earlier.state_dict())
    assert optimizer.state[second]["exp_avg"].equal(earlier.state[second]["exp_avg"])
    assert optimizer.state[first]["exp_avg"].equal(earlier.state[first]["exp_avg"])
    again = torch.optim.AdamW([first, second])
    again.register_load_state_dict_pre_hook(drop_unused_parameters)
    again.load_state_dict(optimizer.state_dict())  # one of today's
    assert again.state[second]["exp_avg"].equal(earlier.state[second]["exp_avg"])
