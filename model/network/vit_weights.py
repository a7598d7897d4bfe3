"""The tensors of transformers' vision transformers under our names."""

import re
from typing import cast

from torch import Tensor

# Names that transformers and the hub have given the parts, in memory and in files, and ours.
# Several of ours: the rows of one matrix, shared out in this order. None: not used here.
RENAMED: dict[str, str | tuple[str, ...] | None] = {
    r"embeddings\.mask_token": None,  # stood for hidden patches in pretraining
    r"(pooler|head)\..*": None,
    r"embeddings\.position_ids": None,
    r"embeddings\.(cls_token|class_embedding)": "class_token",
    r"embeddings\.(distillation_token|register_tokens)": r"\1",
    r"embeddings\.position_embeddings?(\.weight)?": "position_embedding",
    r"embeddings\.patch_embeddings?\.(projection\.)?(weight|bias)": r"patch_embedding.\2",
    r"pre_layrnorm\.(\w+)": r"input_norm.\1",
    r"(post_)?layernorm\.(\w+)": r"final_norm.\2",
}
RENAMED_IN_BLOCK: dict[str, str | tuple[str, ...]] = {
    r"(layernorm_before|norm1|layer_norm1)": "attn_norm",
    r"(layernorm_after|norm2|layer_norm2)": "mlp_norm",
    r"(attention\.attention\.query|(attention|self_attn)\.q_proj)": "attn.query",
    r"(attention\.attention\.key|(attention|self_attn)\.k_proj)": "attn.key",
    r"(attention\.attention\.value|(attention|self_attn)\.v_proj)": "attn.value",
    r"self_attn\.qkv": ("attn.query", "attn.key", "attn.value"),
    r"(attention\.(output\.dense|o_proj)|self_attn\.(out_proj|projection))": "attn.output",
    r"(intermediate\.dense|mlp\.fc1)": "mlp.up",
    r"(output\.dense|mlp\.fc2|mlp\.down_proj|mlp\.weights_out)": "mlp.down",
    r"mlp\.(gate|up)_proj": r"mlp.\1",
    r"mlp\.weights_in": ("mlp.gate", "mlp.up"),
    r"layer_scale1\.lambda1": "attn_scale.factors",
    r"layer_scale2\.lambda1": "mlp_scale.factors",
}
ROOT = re.compile(r"(backbone\.)?(vision_model\.)?")
IN_BLOCK = re.compile(r"(?:encoder\.)?layers?\.(\d+)\.(.+)")
TOKENS = ("class_token", "distillation_token", "register_tokens", "position_embedding")


def rename_tensors(state: dict[str, Tensor], prefix: str, has_final_norm: bool) -> None:
    """Give a vision transformer's tensors, those whose names begin with `prefix`, our names, in
    place. What has our names already, and what is not known, stays as it is; what we do not use
    goes.

    has_final_norm: whether the last block's output goes through a norm; CLIP's has one for the
        class token alone.
    """
    for name in [name for name in state if name.startswith(prefix)]:
        tensor = state.pop(name)
        names = _rename(name.removeprefix(prefix))
        if not has_final_norm:
            names = [name for name in names if not name.startswith("final_norm.")]
        for ours, part in zip(names, tensor.chunk(max(1, len(names))), strict=False):
            if ours in TOKENS:
                part = part.reshape(1, -1, part.shape[-1])
            state[prefix + ours] = part


def _rename(name: str) -> list[str]:
    """Our names of a tensor: none, one, or several that have equal shares of its rows."""
    plain = ROOT.sub("", name, count=1)
    if in_block := IN_BLOCK.fullmatch(plain):
        number, rest = in_block.groups()
        for pattern, ours in RENAMED_IN_BLOCK.items():
            # what follows: weight or bias, or an adapter's
            if match := re.fullmatch(rf"{pattern}(?P<kind>\..+|)", rest):
                parts = [ours] if isinstance(ours, str) else ours
                return [f"blocks.{number}.{match.expand(part)}{match['kind']}" for part in parts]
    for pattern, renamed in RENAMED.items():
        if match := re.fullmatch(pattern, plain):
            return [] if renamed is None else [match.expand(cast(str, renamed))]
    return [name]
