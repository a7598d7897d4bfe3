"""What an image encoder is to the rest: a photo in, a prefix and a grid of patches out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from model.errors import CheckpointError

MAX_PATCHES = 16_384  # 2048 × 2048 pixels in patches of 16


class ImageEncoder(nn.Module, ABC):
    """All output tokens of a vision transformer: (B, num_prefix_tokens + rows·cols, width).

    Args:
        image_size: (height, width) of the input in pixels.
        patch_size: side of an output token's patch in pixels, which divides both.
        num_prefix_tokens: tokens that stand before the patches: class, distillation, registers.

    Attributes:
        grid_size: (rows, cols) of the patches.
        patch_dropout: share of the patches that is left out in training, others for each photo and
            step: half the patches cost half the time and the captions hardly suffer (Liu et al.
            2022, "PatchDropout").
        kept_patches: (B, kept) which patches the last pass in training saw; None: all.

    Raises CheckpointError for an image size that does not divide into patches.
    """

    def __init__(self, image_size: tuple[int, int], patch_size: int, num_prefix_tokens: int):
        super().__init__()
        height, width = image_size
        if any(side % patch_size or side < patch_size for side in image_size):
            raise CheckpointError(
                f"image size {image_size} does not divide into patches of {patch_size} pixels"
            )
        self.image_size = image_size
        self.grid_size = (height // patch_size, width // patch_size)
        if self.grid_size[0] * self.grid_size[1] > MAX_PATCHES:
            raise CheckpointError(
                f"image size {image_size} has more than {MAX_PATCHES:,} patches of "
                f"{patch_size} pixels"
            )
        self.num_prefix_tokens = num_prefix_tokens
        self.patch_dropout = 0.0
        self.kept_patches: Tensor | None = None
        self._grey_features: Tensor | None = None
        self.register_load_state_dict_pre_hook(_adopt_names)

    @property
    def num_tokens(self) -> int:
        """Prefix tokens and patches together."""
        return self.num_prefix_tokens + self.grid_size[0] * self.grid_size[1]

    @abstractmethod
    def list_blocks(self) -> Sequence[nn.Module]:
        """The layers, first to last."""

    @abstractmethod
    def list_final_norms(self) -> Iterable[nn.Module]:
        """What the last layer's output goes through."""

    @abstractmethod
    def encode(
        self,
        pixel_values: Tensor,
        visible_patches: Tensor | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, tuple[Tensor, ...] | None]:
        """Image features (B, S, width), and each layer's self-attention weights
        (B, heads, S, S), or None when they were not asked for.

        pixel_values, visible_patches: see `forward`.

        Raises OptionError for an encoder that cannot leave patches out, or has no such weights.
        """

    def rename_state(self, state: dict[str, Tensor], prefix: str = "") -> None:
        """Give tensors that another format calls otherwise, among those whose names begin with
        `prefix`, the names of this encoder's."""

    def forward(self, pixel_values: Tensor, visible_patches: Tensor | None = None) -> Tensor:
        """pixel_values (B, 3, height, width), normalised -> image features (B, S, width).

        visible_patches: (B, n) indices of the patches to encode, equally many for each photo;
            the others are left out, as if the photo had holes, and S = prefix + n. (Painting them
            grey would show their outline: Jain et al. 2022, "Missingness Bias".)
        """
        return self._encode(pixel_values, visible_patches)[0]

    def with_attention(self, pixel_values: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Features (B, S, width), and each layer's self-attention weights (B, heads, S, S).

        Raises OptionError for Swin, which has no attention from every patch to every patch.
        """
        features, weights = self._encode(pixel_values, need_weights=True)
        assert weights is not None  # asked for
        return features, weights

    @torch.inference_mode()
    def grey_features(self) -> Tensor:
        """Features (1, S, width) of a plain photo, in the mean colour of the training photos.

        They are kept until the weights are loaded, moved or trained: `train`, `eval`, `to` and
        `load_state_dict` forget them. Whoever changes weights otherwise calls `eval` after it.
        """
        if self._grey_features is not None:
            return self._grey_features
        some = next(self.parameters())
        grey = torch.zeros(1, 3, *self.image_size, device=some.device)  # once normalised
        features = self(grey)
        if not self.training:  # there each pass may drop other patches
            self._grey_features = features
        return features

    def train(self, mode: bool = True) -> "ImageEncoder":
        self._grey_features = None
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "ImageEncoder":
        self._grey_features = None
        return super()._apply(fn, recurse)

    def _encode(
        self,
        pixel_values: Tensor,
        visible_patches: Tensor | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, tuple[Tensor, ...] | None]:
        size = tuple(pixel_values.shape[2:])
        if size != self.image_size:
            raise ValueError(f"images of {size} pixels given, {self.image_size} expected")
        self.kept_patches = None
        if self.training and self.patch_dropout and visible_patches is None:
            count = self.num_tokens - self.num_prefix_tokens
            order = torch.rand(len(pixel_values), count, device=pixel_values.device).argsort(dim=1)
            visible_patches = order[:, : max(1, round(count * (1 - self.patch_dropout)))]
            self.kept_patches = visible_patches
        return self.encode(pixel_values, visible_patches, need_weights)


def _adopt_names(
    encoder: ImageEncoder, state_dict: dict[str, Tensor], prefix: str, *_: object
) -> None:
    """What torch calls before it reads a state dict into an encoder."""
    encoder._grey_features = None
    encoder.rename_state(state_dict, prefix)
