"""A vision transformer (Dosovitskiy et al. 2021): the third use of the one attention block, patches
of a photo that look at each other.

One network for ViT, DeiT, DINOv2, and the vision halves of CLIP, SigLIP, BLIP and GIT, which
differ in what `ViTConfig` says.
"""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.attention import MultiHeadAttention
from model.network.encoder import ImageEncoder
from model.network.mlp import MLP, SwiGLU
from model.network.token_merging import MergedTokens
from model.network.vit_config import ACTIVATIONS, ViTConfig
from model.network.vit_weights import rename_tensors


class ViTBlock(nn.Module):
    """One layer: self-attention, then an MLP, each with a norm before it and a residual."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        width = config.width
        self.attn_norm = nn.LayerNorm(width, eps=config.norm_eps)
        self.attn = MultiHeadAttention(width, config.num_heads, bias=config.qkv_bias)
        self.attn_scale = _create_scale(config)
        self.mlp_norm = nn.LayerNorm(width, eps=config.norm_eps)
        self.mlp = (
            SwiGLU(width, config.hidden_width)
            if config.gated
            else MLP(width, config.hidden_width, ACTIVATIONS[config.activation])
        )
        self.mlp_scale = _create_scale(config)

    def forward(self, x: Tensor, need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """x (B, S, width) -> the same shape, and the weights (B, heads, S, S) if needed."""
        x, weights, _ = self.attend(x, need_weights)
        return self.transform(x), weights

    def attend(
        self, x: Tensor, need_weights: bool = False, sizes: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """The self-attention: x (B, S, width) -> the same shape, the weights if needed, and the
        keys (B, heads, S, head_dim). sizes: see `MultiHeadAttention.forward`."""
        normed = self.attn_norm(x)
        keys_values = self.attn.keys_values(normed)
        attended, weights = self.attn(normed, keys_values, sizes=sizes, need_weights=need_weights)
        return x + self.attn_scale(attended), weights, keys_values.keys

    def transform(self, x: Tensor) -> Tensor:
        """The MLP: x (B, S, width) -> the same shape."""
        return x + self.mlp_scale(self.mlp(self.mlp_norm(x)))


class Scale(nn.Module):
    """LayerScale: a factor for each dimension."""

    def __init__(self, width: int, value: float):
        super().__init__()
        self.factors = nn.Parameter(torch.full((width,), float(value)))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factors


def _create_scale(config: ViTConfig) -> nn.Module:
    if config.layer_scale is None:
        return nn.Identity()
    return Scale(config.width, config.layer_scale)


class ViT(ImageEncoder):
    """An image encoder of our own; new ones have random weights.

    Attributes:
        merged_patches: how many of all patches each layer merges into others that are like them,
            see `token_merging`; 0 for none. Where patches are left out, as large a share of the
            rest; where the weights of all patches are asked for, none.
    """

    def __init__(self, config: ViTConfig, image_size: tuple[int, int]):
        num_positioned = config.class_token + config.distillation_token
        super().__init__(image_size, config.patch_size, num_positioned + config.num_registers)
        width = config.width
        self.config = config
        self.merged_patches = 0
        self.num_positioned = num_positioned  # prefix tokens that have a position, unlike registers

        def create_tokens(count: int) -> nn.Parameter | None:
            return nn.Parameter(torch.empty(1, count, width)) if count else None

        self.class_token = create_tokens(config.class_token)
        self.position_embedding = nn.Parameter(
            torch.empty(1, num_positioned + config.trained_grid**2, width)
        )
        self.distillation_token = create_tokens(config.distillation_token)
        self.register_tokens = create_tokens(config.num_registers)
        self.patch_embedding = nn.Conv2d(
            3,
            width,
            kernel_size=config.patch_size,
            stride=config.patch_size,
            bias=config.patch_bias,
        )
        self.input_norm = _create_norm(config) if config.input_norm else nn.Identity()
        blocks = nn.ModuleList(ViTBlock(config) for _ in range(config.num_layers))
        self.blocks = cast(Sequence[ViTBlock], blocks)  # torch's list does not tell of what
        self.final_norm = _create_norm(config) if config.final_norm else nn.Identity()
        self._initialise()

    def list_blocks(self) -> Sequence[nn.Module]:
        return self.blocks

    def list_final_norms(self) -> Sequence[nn.Module]:
        return [self.final_norm]

    def rename_state(self, state: dict[str, Tensor], prefix: str = "") -> None:
        rename_tensors(state, prefix, self.config.final_norm)

    def encode(
        self,
        pixel_values: Tensor,
        visible_patches: Tensor | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, tuple[Tensor, ...] | None]:
        """See `ImageEncoder.encode`."""
        x = self.input_norm(self.embed(pixel_values, visible_patches))
        if self.merged_patches and not need_weights:
            return self.final_norm(self._merge_and_encode(x)), None
        layers = []
        for block in self.blocks:
            x, weights = block(x, need_weights)
            layers.append(weights)
        return self.final_norm(x), tuple(layers) if need_weights else None

    def _merge_and_encode(self, x: Tensor) -> Tensor:
        """What the last block makes of x (B, S, width), for each of its S places."""
        # where patches are left out, as many fewer: else few tokens would be left
        seen = x.shape[1] - self.num_prefix_tokens
        count = round(self.merged_patches * seen / (self.num_tokens - self.num_prefix_tokens))
        state = MergedTokens.begin(x)
        for block in self.blocks:
            tokens, _, keys = block.attend(state.tokens, sizes=state.sizes)
            state = state._replace(tokens=tokens)
            state = state.merge(keys, count, self.num_prefix_tokens)
            state = state._replace(tokens=block.transform(state.tokens))
        return state.spread()

    def embed(self, pixel_values: Tensor, visible_patches: Tensor | None = None) -> Tensor:
        """Prefix tokens and patches with their positions, as the first block reads them:
        (B, 3, height, width) -> (B, S, width)."""
        positions = self.stretch_positions()
        prefix_positions, patch_positions = positions.tensor_split([self.num_positioned], dim=1)
        patches = self.patch_embedding(pixel_values).flatten(2).transpose(1, 2) + patch_positions
        if visible_patches is not None:
            patches = patches.gather(1, visible_patches[..., None].expand(-1, -1, patches.shape[2]))
        positioned: list[Tensor]
        positioned = [t for t in (self.class_token, self.distillation_token) if t is not None]
        prefix = [torch.cat(positioned, dim=1) + prefix_positions] if positioned else []
        if self.register_tokens is not None:
            prefix.append(self.register_tokens)
        return torch.cat([*(part.expand(len(patches), -1, -1) for part in prefix), patches], dim=1)

    def stretch_positions(self) -> Tensor:
        """The learned positions, stretched to the grid of this encoder's photos: (1, prefix tokens
        with a position + rows·cols, width)."""
        side = self.config.trained_grid
        if self.grid_size == (side, side):
            return self.position_embedding
        prefix = self.position_embedding[:, : self.num_positioned]
        patches = self.position_embedding[:, self.num_positioned :]
        grid = patches.transpose(1, 2).unflatten(2, (side, side))  # (1, width, side, side)
        stretched = F.interpolate(
            grid.float(), self.grid_size, mode="bicubic", antialias=self.config.antialias
        )
        return torch.cat([prefix, stretched.to(grid.dtype).flatten(2).transpose(1, 2)], dim=1)

    @torch.no_grad()
    def _initialise(self) -> None:
        """ViT's: normal(0.02), no bias."""
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)


def _create_norm(config: ViTConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.width, eps=config.norm_eps)
