"""Image encoders of transformers behind the interface of `ImageEncoder`, for those whose
architecture is not our ViT's.

Slower than ours: attention is never fused, since only the eager one gives weights.
"""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from transformers import PreTrainedModel

from model.errors import CheckpointError, OptionError
from model.network.encoder import ImageEncoder

# by model_type: why no patch can be left out
WHOLE = {
    "beit": "positions enter in every layer",
    "dinov3_vit": "positions enter in every layer",
    "swin": "its windows must be whole",
}


class TransformersEncoder(ImageEncoder):
    """As `ViT`, around a network of transformers.

    Raises CheckpointError for an image size that does not divide into its patches (of the last
    stage, for Swin).
    """

    def __init__(self, backbone: PreTrainedModel, image_size: tuple[int, int]):
        config = backbone.config
        patch = config.patch_size
        if type(patch) is not int or patch < 1:
            raise CheckpointError(f"patch_size must be a whole number from 1, not {patch!r}")
        num_prefix_tokens = 1 + getattr(config, "num_register_tokens", 0)
        if config.model_type == "swin":  # each later stage joins 2 × 2 patches
            patch *= 2 ** (len(config.depths) - 1)
            num_prefix_tokens = 0
        super().__init__(image_size, patch, num_prefix_tokens)
        backbone.set_attn_implementation("eager")
        if hasattr(backbone, "pooler"):  # not used, and no dead weights in the checkpoint
            backbone.register_module("pooler", None)
        self.backbone = backbone

    def list_blocks(self) -> Sequence[nn.Module]:
        """See `ImageEncoder.list_blocks`: each has them in a list, whose name differs."""
        lists = (m for m in self.backbone.modules() if isinstance(m, nn.ModuleList))
        return cast(Sequence[nn.Module], max(lists, key=len))

    def list_final_norms(self) -> Sequence[nn.Module]:
        return [m for m in self.backbone.children() if isinstance(m, nn.LayerNorm)]

    def encode(
        self,
        pixel_values: Tensor,
        visible_patches: Tensor | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, tuple[Tensor, ...] | None]:
        """See `ImageEncoder.encode`."""
        family = self.backbone.config.model_type
        if visible_patches is not None:
            raise OptionError(
                f"this image encoder ({family}) cannot leave patches out: {WHOLE[family]}"
            )
        if need_weights and family == "swin":
            raise OptionError(
                "this image encoder (swin) cannot be rolled out: it attends within windows, and "
                "its patches grow from stage to stage"
            )
        output = self.backbone(pixel_values, output_attentions=need_weights)
        features = output.last_hidden_state
        if features.shape[1] != self.num_tokens:
            raise CheckpointError(
                f"the encoder gave {features.shape[1]} tokens; its config promises "
                f"{self.num_prefix_tokens} + {self.grid_size[0]} × {self.grid_size[1]}"
            )
        return features, output.attentions if need_weights else None
