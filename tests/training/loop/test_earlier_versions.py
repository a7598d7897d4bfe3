"""Runs of earlier versions, whose encoder had other names and a tensor that nothing used."""

import pytest
import torch
from safetensors.torch import save_file

from model.errors import OptionError
from tests.support.tiny import tiny_captioner
from training.loop.checkpoints import WEIGHTS, check_encoder_order
from training.loop.learner import Learner, WeightAverage
from training.loop.run_folder import AVERAGE


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


@pytest.mark.parametrize("encoder_learned", [True, False])
def test_a_run_whose_encoder_learned_under_the_earlier_names(tmp_path, encoder_learned):
    """Only its optimizer's state has another order: with a frozen encoder the run goes on."""
    checkpoint = tmp_path / "run" / "checkpoint-4"
    checkpoint.mkdir(parents=True)
    network = tiny_captioner().network
    network.encoder.requires_grad_(encoder_learned)
    learner = Learner(network, 0)
    earlier = "captioner.encoder.backbone.encoder.layer.1.attention.q_proj.weight"
    save_file({earlier: torch.zeros(32, 32)}, checkpoint / WEIGHTS)
    if encoder_learned:
        with pytest.raises(OptionError) as caught:
            check_encoder_order(checkpoint, learner.network)
        message = str(caught.value)
        assert message.startswith(f"{checkpoint}: ") and "\n" not in message
        assert f"--checkpoint {tmp_path / 'run' / 'best'} and another --output" in message
    else:
        check_encoder_order(checkpoint, learner.network)
    save_file(learner.state_dict(), checkpoint / WEIGHTS)  # one of today's
    check_encoder_order(checkpoint, learner.network)
