"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL (Wang et al. 2024; Bai et al. 2025): square groups of a vision
transformer's patches become one feature each, read by a Qwen that knows rows from columns."""

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    DynamicCache,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLModel,
    Qwen2VLForConditionalGeneration,
    Qwen2VLModel,
    Qwen3VLForConditionalGeneration,
    Qwen3VLModel,
)

from model.checkpoint.families.prompted import read_prompted_network
from model.network.network import Network
from model.network.prompt_decoder import PromptDecoder

KINDS: dict[str, type[PreTrainedModel]] = {
    "qwen2_vl": Qwen2VLForConditionalGeneration,
    "qwen2_5_vl": Qwen2_5_VLForConditionalGeneration,
    "qwen3_vl": Qwen3VLForConditionalGeneration,
}
# of the grid: they take photos of any size, and this is 448 or 512 pixels
CELLS_A_SIDE = 16
# their settings draw words at random and punish repeats; a caption is the likeliest one
NOT_FOLLOWED = {"do_sample", "repetition_penalty"}


def read_network(folder: Path, allow_pickle: bool = False) -> Network:
    """The network in a folder with the hub's layout; see `read_prompted_network`.

    Every photo is squashed to the same square, where its own processor keeps its shape.
    """
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    vision = cast(PreTrainedConfig, config.vision_config)
    return read_prompted_network(
        KINDS[config.model_type],
        folder,
        allow_pickle,
        parts=("visual",),
        joined_patches=vision.spatial_merge_size,
        cells_a_side=CELLS_A_SIDE,
        template="<|im_start|>user\n<|vision_start|>{photo}<|vision_end|>{question}<|im_end|>\n"
        "<|im_start|>assistant\n",
        embed=_embed_photos,
        num_levels=1 + len(getattr(vision, "deepstack_visual_indexes", ())),
        decoder_kind=QwenDecoder,
        known_settings=NOT_FOLLOWED,
    )


class QwenDecoder(PromptDecoder):
    """Counts positions in time, rows and columns: a photo takes as many as its longer side has
    cells, and words go on behind it."""

    def __init__(self, network: PreTrainedModel, prompt: list[int], placeholder: int, *rest: int):
        super().__init__(network, prompt, placeholder, *rest)
        ids = self.prompt[None]
        core: Any = network.base_model
        places, shift = core.get_rope_index(
            ids,
            mm_token_type_ids=ids.eq(placeholder).int(),
            image_grid_thw=_count_patches(core.config.vision_config),
        )
        self._places: Tensor
        self.register_buffer("_places", places, persistent=False)  # (3, 1, P)
        self._shift = int(shift)

    def _read_prompt(self, ids: Tensor, image_features: Tensor, read: DynamicCache) -> None:
        """As `PromptDecoder._read_prompt`. Of Qwen3-VL's features all but the first level are added
        behind the first layers (Meng et al. 2024, "DeepStack")."""
        core: Any = self.network.base_model
        first, *later = image_features.split(core.config.get_text_config().hidden_size, -1)
        levels: dict[str, Any] = {}
        if later:
            levels["visual_pos_masks"] = torch.zeros_like(ids).index_fill(1, self.columns, 1).bool()
            levels["deepstack_visual_embeds"] = [level.flatten(0, 1) for level in later]
        core.language_model(
            inputs_embeds=self._embed_prompt(ids, first),
            position_ids=self._places.expand(-1, len(ids), -1),
            use_cache=True,
            **{self._cache_name: read},
            **levels,
        )

    def _describe_words(self, positions: Tensor, rows: int, seen: int) -> dict[str, Any]:
        return {"position_ids": (positions + seen + self._shift).expand(3, rows, -1)}


def _embed_photos(
    core: Qwen2VLModel | Qwen2_5_VLModel | Qwen3VLModel, pixel_values: Tensor
) -> Tensor:
    """Features (B, S, width · levels)."""
    vision = cast(PreTrainedConfig, core.config.vision_config)
    counts = _count_patches(vision).to(pixel_values.device).expand(len(pixel_values), -1)
    read = core.get_image_features(_cut_patches(pixel_values, vision), counts)
    levels = [read.pooler_output, *getattr(read, "deepstack_features", ())]
    return torch.cat([torch.stack(list(level)) for level in levels], -1)


def _cut_patches(pixel_values: Tensor, vision: PreTrainedConfig) -> Tensor:
    """pixel_values (B, 3, height, width) -> (patches of all photos, numbers in a patch), as
    transformers' processor of these models orders them: those that are joined follow one another,
    and each is there twice, as a moment of a film would be."""
    side, joined, moments = vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size
    # (B, 3, rows, joined, side, columns, joined, side)
    cut = pixel_values.unflatten(3, (-1, joined, side)).unflatten(2, (-1, joined, side))
    patches = cut.permute(0, 2, 5, 3, 6, 1, 4, 7).flatten(0, 4)  # (patches, 3, side, side)
    return patches.unsqueeze(2).expand(-1, -1, moments, -1, -1).flatten(1)


def _count_patches(vision: PreTrainedConfig) -> Tensor:
    """The patches of a photo in time, rows and columns: (1, 3)."""
    patches = CELLS_A_SIDE * vision.spatial_merge_size
    return torch.tensor([[1, patches, patches]])
