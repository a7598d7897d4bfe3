"""GPT-2 with cross-attention, as transformers keeps it, read into our own decoder.

The architecture is the same: its tensors are renamed, its Conv1D matrices (in, out) turned over.
"""

import torch
from torch import Tensor, nn
from transformers import GPT2LMHeadModel, PreTrainedModel

PLAIN = {  # of GPT-2's settings, those that our decoder has
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
}


def is_ours(decoder: PreTrainedModel) -> bool:
    """Whether our decoder computes the same."""
    return (
        isinstance(decoder, GPT2LMHeadModel)
        and all(getattr(decoder.config, name) == value for name, value in PLAIN.items())
        and torch.equal(decoder.lm_head.weight, decoder.transformer.wte.weight)
    )


def get_mlp_ratio(gpt2: GPT2LMHeadModel) -> float:
    """Of our decoder: the MLP's hidden width over the width."""
    return (gpt2.config.n_inner or 4 * gpt2.config.n_embd) / gpt2.config.n_embd


def rename_gpt2_tensors(
    gpt2: GPT2LMHeadModel, projection: nn.Linear | None = None
) -> dict[str, Tensor]:
    """A GPT-2's tensors under our names, and those of the projection of the image before it."""
    theirs = gpt2.transformer.state_dict()
    state = {
        "token_embedding.weight": theirs["wte.weight"],
        "position_embedding.weight": theirs["wpe.weight"],
        "final_norm.weight": theirs["ln_f.weight"],
        "final_norm.bias": theirs["ln_f.bias"],
    }
    for kind, tensor in (projection.state_dict() if projection else {}).items():
        state[f"image_projection.{kind}"] = tensor
    names = {
        "attn.c_attn": ["self_attn.query", "self_attn.key", "self_attn.value"],
        "attn.c_proj": ["self_attn.output"],
        "crossattention.q_attn": ["cross_attn.query"],
        "crossattention.c_attn": ["cross_attn.key", "cross_attn.value"],
        "crossattention.c_proj": ["cross_attn.output"],
        "mlp.c_fc": ["mlp.up"],
        "mlp.c_proj": ["mlp.down"],
        "ln_1": ["self_attn_norm"],
        "ln_cross_attn": ["cross_attn_norm"],
        "ln_2": ["mlp_norm"],
    }
    for layer in range(gpt2.config.n_layer):
        for source, targets in names.items():
            for kind in ("weight", "bias"):
                tensor = theirs[f"h.{layer}.{source}.{kind}"]
                for target, part in zip(targets, tensor.chunk(len(targets), -1), strict=True):
                    state[f"blocks.{layer}.{target}.{kind}"] = part.T if part.dim() == 2 else part
    return state
