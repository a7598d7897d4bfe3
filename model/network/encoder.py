"""The image encoder: a ViT-family backbone from transformers, its patch grid and prefix tokens."""

import copy
from contextvars import ContextVar
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

from model.errors import CheckpointError, OptionError

# Tokens that stand before the patches in the backbone's output: CLS, distillation, registers.
PREFIX_TOKENS = {
    "vit": lambda config: 1,
    "deit": lambda config: 2,
    "dinov2": lambda config: 1,
    "dinov2_with_registers": lambda config: 1 + config.num_register_tokens,
    "dinov3_vit": lambda config: 1 + config.num_register_tokens,
    "clip_vision_model": lambda config: 1,
    "siglip_vision_model": lambda config: 0,
    "beit": lambda config: 1,
    "blip_vision_model": lambda config: 1,
    "swin": lambda config: 0,
}
# These have one position embedding a patch and stretch it to other sizes only when asked to.
STRETCH_WHEN_ASKED = {"vit", "deit"}
STRETCH_WHEN_ASKED |= {"clip_vision_model", "siglip_vision_model", "blip_vision_model"}
WHOLE = {  # where no patch can be left out, and why
    "dinov3_vit": "positions enter in every layer",
    "beit": "positions enter in every layer",
    "swin": "its windows must be whole",
}
MAX_PATCHES = 16_384  # 2048 × 2048 pixels in patches of 16
# Indices (B, n) of the patches that one call, in whichever thread, encodes; the backbone's own
# forward has no argument for them.
_VISIBLE_PATCHES: ContextVar[Tensor | None] = ContextVar("visible_patches", default=None)


def check_encoder(model_type: str) -> None:
    """Raises CheckpointError for a kind of backbone that is not supported."""
    if model_type not in PREFIX_TOKENS:
        raise CheckpointError(
            f"image encoder {model_type!r} is not supported; "
            f"choose one of {', '.join(PREFIX_TOKENS)}"
        )


class ImageEncoder(nn.Module):
    """All output tokens of a ViT: (B, num_prefix_tokens + rows·cols, width).

    Args:
        config: the backbone's transformers config.
        image_size: (height, width) of the input in pixels, multiples of the patch size (of the
            last stage's, for Swin).
        backbone: the network, if it exists already; else one is made, with random weights.

    Set `patch_dropout` to leave out that share of the patches, others for each photo and step,
    in training: half the patches cost half the time and the captions hardly suffer (Liu et al.
    2022, "PatchDropout"). `kept_patches` (B, kept) then tells which ones the last pass saw.

    Raises CheckpointError for a backbone that is not supported or an image size that does not
    divide into patches.
    """

    def __init__(
        self,
        config: PreTrainedConfig,
        image_size: tuple[int, int],
        backbone: PreTrainedModel | None = None,
    ):
        super().__init__()
        check_encoder(config.model_type)
        height, width = image_size
        patch, image_size = config.patch_size, (height, width)
        if type(patch) is not int or patch < 1:
            raise CheckpointError(f"patch_size must be a whole number from 1, not {patch!r}")
        if config.model_type == "swin":  # each later stage joins 2 × 2 patches
            patch *= 2 ** (len(config.depths) - 1)
        if any(side % patch or side < patch for side in image_size):
            raise CheckpointError(
                f"image size {image_size} does not divide into patches of {patch} pixels"
            )
        if image_size[0] // patch * (image_size[1] // patch) > MAX_PATCHES:
            raise CheckpointError(
                f"image size {image_size} has more than {MAX_PATCHES:,} patches of {patch} pixels"
            )
        self.image_size = image_size
        self.grid_size = (image_size[0] // patch, image_size[1] // patch)
        self.num_prefix_tokens = PREFIX_TOKENS[config.model_type](config)
        if hasattr(config, "vision_use_head"):
            config.vision_use_head = False  # SigLIP's pooling head, which we would not use
        self.backbone: PreTrainedModel = backbone or AutoModel.from_config(
            config, attn_implementation="sdpa", trust_remote_code=False
        )
        if hasattr(self.backbone, "pooler"):
            self.backbone.pooler = None  # not used either, and no dead weights in the checkpoint
        if getattr(self.backbone, "use_head", False):  # SigLIP's, where it came with one
            self.backbone.use_head, self.backbone.head = False, None
        self.patch_dropout = 0.0
        self.kept_patches: Tensor | None = None
        if config.model_type not in WHOLE:
            cast(nn.Module, self.backbone.embeddings).register_forward_hook(self._drop_patches)
        stretch = config.model_type in STRETCH_WHEN_ASKED
        self._arguments = {"interpolate_pos_encoding": True} if stretch else {}
        self._grey: tuple[_Weights, Tensor] | None = None

    @classmethod
    def from_pretrained(cls, name: str, image_size: tuple[int, int]) -> "ImageEncoder":
        """A backbone from a folder or the hub, e.g. "facebook/dinov2-small"; of CLIP or SigLIP
        the vision half is taken."""
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        config = getattr(config, "vision_config", config)
        if config.model_type not in PREFIX_TOKENS:
            return cls(config, image_size)  # raises, before anything is downloaded
        if hasattr(config, "vision_use_head"):
            config.vision_use_head = False
        backbone = AutoModel.from_pretrained(
            name,
            config=config,
            use_safetensors=True,
            dtype=torch.float32,
            trust_remote_code=False,
        )
        return cls(config, image_size, backbone)

    @property
    def num_tokens(self) -> int:
        """Prefix tokens and patches together."""
        return self.num_prefix_tokens + self.grid_size[0] * self.grid_size[1]

    def forward(self, pixel_values: Tensor, visible_patches: Tensor | None = None) -> Tensor:
        """pixel_values (B, 3, height, width), normalised -> image features (B, S, width).

        visible_patches: (B, n) indices of the patches to encode, equally many for each photo;
            the others are left out, as if the photo had holes, and S = prefix + n. (Painting them
            grey would show their outline: Jain et al. 2022, "Missingness Bias".)
        """
        if visible_patches is not None:
            return self._encode_patches(pixel_values, visible_patches)
        size = tuple(pixel_values.shape[2:])
        if size != self.image_size:
            raise ValueError(f"images of {size} pixels given, {self.image_size} expected")
        features = self.backbone(pixel_values, **self._arguments).last_hidden_state
        if features.shape[1] != self.num_tokens and not (self.training and self.patch_dropout):
            raise CheckpointError(
                f"the encoder gave {features.shape[1]} tokens; its config promises "
                f"{self.num_prefix_tokens} + {self.grid_size[0]} × {self.grid_size[1]}"
            )
        return features

    @torch.inference_mode()
    def grey_features(self) -> Tensor:
        """Features (1, S, width) of a plain photo, in the mean colour of the training photos.

        They are kept until the weights are others.
        """
        state = _Weights.sample(self)
        grey = torch.zeros(1, 3, *self.image_size, device=state.device)  # once normalised
        if self.training:  # each pass may drop other patches
            return self(grey)
        kept = self._grey
        if kept is None or kept[0] != state:
            self._grey = kept = state, self(grey)
        return kept[1]

    def _encode_patches(self, pixel_values: Tensor, visible_patches: Tensor) -> Tensor:
        family = self.backbone.config.model_type
        if family in WHOLE:
            raise OptionError(
                f"this image encoder ({family}) cannot leave patches out: {WHOLE[family]}"
            )
        token = _VISIBLE_PATCHES.set(visible_patches)
        try:
            return self.backbone(pixel_values, **self._arguments).last_hidden_state
        finally:
            _VISIBLE_PATCHES.reset(token)

    def with_attention(self, pixel_values: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Features (B, S, width), and each layer's self-attention weights (B, heads, S, S).

        Raises OptionError for Swin, which has no attention from every patch to every patch.
        """
        if self.backbone.config.model_type == "swin":
            raise OptionError(
                "this image encoder (swin) cannot be rolled out: it attends within windows, and "
                "its patches grow from stage to stage"
            )
        # A twin that shares the weights: switching the implementation of the backbone itself would
        # change it for everyone who is using it at this moment.
        with torch.device("meta"):
            twin = type(self.backbone)._from_config(
                copy.deepcopy(self.backbone.config), attn_implementation="eager"
            )
        if hasattr(twin, "pooler"):
            twin.pooler = None
        twin.load_state_dict(self.backbone.state_dict(keep_vars=True), assign=True)
        output = twin.eval()(pixel_values, output_attentions=True, **self._arguments)
        return output.last_hidden_state, output.attentions

    def _drop_patches(
        self, module: nn.Module, arguments: tuple[Tensor, ...], embedded: Tensor
    ) -> Tensor | None:
        prefix = self.num_prefix_tokens
        patches = embedded[:, prefix:]
        kept = _VISIBLE_PATCHES.get()
        if kept is None:
            self.kept_patches = None
            if not (self.training and self.patch_dropout):
                return None
            count = patches.shape[1]
            order = torch.rand(patches.shape[:2], device=patches.device).argsort(dim=1)
            self.kept_patches = kept = order[:, : max(1, round(count * (1 - self.patch_dropout)))]
        patches = patches.gather(1, kept[..., None].expand(-1, -1, patches.shape[2]))
        return torch.cat([embedded[:, :prefix], patches], dim=1)


class _Weights(NamedTuple):
    """What tells a network's weights from those it had before.

    Version counters tell every change but those of fused optimizers, which change all numbers: so
    one number of each tensor is here too. (Comparing all of them would take a quarter of the time
    of the maps, and a second copy in memory.)
    """

    device: torch.device
    dtype: torch.dtype
    versions: tuple[int, ...]
    samples: tuple[float, ...]

    @classmethod
    def sample(cls, network: nn.Module) -> "_Weights":
        tensors = [*network.parameters(), *network.buffers()]
        middle = torch.stack(
            [t.detach().view(-1)[t.numel() // 2].float() for t in tensors if t.numel()]
        )
        versions = tuple(0 if t.is_inference() else t._version for t in tensors)
        return cls(tensors[0].device, tensors[0].dtype, versions, tuple(middle.tolist()))
