"""Names of tensors: transformers' and the hub's become ours, ours stay."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from model.network.encoder_families import create_encoder
from model.network.vit_weights import rename_tensors
from tests.model.network.test_vit import CONFIGS


@pytest.mark.parametrize("family", [name for name in CONFIGS if name != "blip"])
def test_names_in_memory_and_on_the_hub(family, tmp_path):
    """Renamed, they are one another's, and every tensor of ours is there."""
    config, _ = CONFIGS[family]
    theirs = AutoModel.from_config(config)
    theirs.save_pretrained(tmp_path)
    in_memory, on_hub = theirs.state_dict(), load_file(tmp_path / "model.safetensors")
    ours = create_encoder(config.to_dict(), (56, 56)).state_dict()
    for state in (in_memory, on_hub):
        rename_tensors(state, "", family != "clip")
        assert {name: t.shape for name, t in state.items()} == {n: t.shape for n, t in ours.items()}
    assert all(in_memory[name].equal(on_hub[name]) for name in ours)


def test_names_of_earlier_checkpoints_and_runs():
    theirs = {
        "captioner.encoder.backbone.embeddings.cls_token": torch.zeros(1, 1, 4),
        "captioner.encoder.backbone.embeddings.mask_token": torch.zeros(1, 4),
        "captioner.encoder.backbone.encoder.layer.7.attention.q_proj.weight": torch.ones(4, 4),
        "captioner.encoder.backbone.encoder.layer.7.mlp.fc1.lora_A.weight": torch.ones(2, 4),
        "captioner.encoder.backbone.encoder.layer.7.mlp.fc1.base_layer.bias": torch.ones(8),
        "captioner.encoder.strange": torch.ones(3),
        "captioner.decoder.layernorm.weight": torch.ones(4),
    }
    expected = {
        "captioner.encoder.class_token",
        "captioner.encoder.blocks.7.attn.query.weight",
        "captioner.encoder.blocks.7.mlp.up.lora_A.weight",
        "captioner.encoder.blocks.7.mlp.up.base_layer.bias",
        "captioner.encoder.strange",  # whoever reads it says that it is not expected
        "captioner.decoder.layernorm.weight",
    }
    rename_tensors(theirs, "captioner.encoder.", True)
    assert set(theirs) == expected
    rename_tensors(theirs, "captioner.encoder.", True)  # ours stay
    assert set(theirs) == expected


def test_one_matrix_for_queries_keys_and_values_is_taken_apart():
    qkv = torch.arange(24.0).reshape(12, 2)
    state = {"encoder.layers.0.self_attn.qkv.weight": qkv}
    rename_tensors(state, "", True)
    assert list(state) == [f"blocks.0.attn.{part}.weight" for part in ("query", "key", "value")]
    assert torch.cat(list(state.values())).equal(qkv)
