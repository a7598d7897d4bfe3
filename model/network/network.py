"""The network of a captioner: encoder and decoder, with the tokenizer and the image processor that
say what goes in and what comes out."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from model.errors import CheckpointError, OptionError
from model.images import ImageSource, load_image, thin_photo
from model.network.config import CaptionerConfig
from model.network.decoder import TextDecoder
from model.network.encoder import ImageEncoder
from model.network.encoder_families import create_encoder
from model.network.image_processor import ImageProcessor
from model.network.memory_encoder import MemoryEncoder, RememberedCaption
from model.network.text_encoder import pad_tokens
from model.network.tokenizer import CaptionTokenizer
from model.network.vit import ViT

if TYPE_CHECKING:  # transformers takes longer to import than a caption takes
    from model.network.bart_decoder import BartDecoder
    from model.network.prompt_decoder import OneSequenceDecoder
    from model.network.transformers_decoder import TransformersDecoder

    OthersDecoder = TransformersDecoder | OneSequenceDecoder | BartDecoder


@dataclass(frozen=True, eq=False)  # == of tensors is no yes or no
class EncodedPhoto:
    """A photo as the network sees it, encoded once for all uses.

    Attributes:
        pixel_values: (3, height, width), what the encoder is given.
        image_features: (prefix + patches, image_width), what it makes of it.
        remembered: captions of similar photos that the decoder looks at too.
        memory_features: (their tokens, image_width), what the memory encoder makes of them; None
            where nothing is remembered.
    """

    pixel_values: Tensor
    image_features: Tensor
    remembered: tuple[RememberedCaption, ...] = ()
    memory_features: Tensor | None = None

    @property
    def context(self) -> Tensor:
        """What the decoder looks at: (prefix + patches + remembered tokens, image_width)."""
        return self.add_memory(self.image_features)

    def add_memory(self, image_features: Tensor) -> Tensor:
        """Other image features (..., prefix + patches, image_width) with the same memory behind
        them; themselves where nothing is remembered."""
        if self.memory_features is None:
            return image_features
        memory = self.memory_features.expand(*image_features.shape[:-2], -1, -1)
        return torch.cat([image_features, memory], dim=-2)


class Network(nn.Module):
    """An image encoder and a text decoder with all that they need to read a photo.

    Args:
        encoder, decoder: where they are there already; else new ones are made from the
            configuration, with random weights.

    Attributes:
        prompt: what the captioner is asked; None where it takes no prompt.
    """

    def __init__(
        self,
        config: CaptionerConfig,
        tokenizer: CaptionTokenizer,
        image_processor: ImageProcessor,
        encoder: ImageEncoder | None = None,
        decoder: "TextDecoder | OthersDecoder | None" = None,
    ):
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.encoder = encoder or create_encoder(config.encoder, config.image_size)
        self.decoder = decoder or TextDecoder(
            vocab_size=config.vocab_size,
            max_length=config.max_length,
            width=config.width,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
            image_width=config.image_width,
            mlp_ratio=config.mlp_ratio,
            project_image=config.project_image,
            dropout=config.dropout,
        )
        if config.merged_patches:
            if not isinstance(self.encoder, ViT):
                raise CheckpointError("merged_patches: this image encoder cannot merge patches")
            self.encoder.merged_patches = config.merged_patches
        self.prompt: str | None = None
        self._build: Callable[[str], Network] | None = None
        self.memory_encoder: MemoryEncoder | None = None
        if config.memory_layers:
            self.memory_encoder = MemoryEncoder(
                max_length=config.max_length,
                width=config.width,
                num_layers=config.memory_layers,
                num_heads=config.num_heads,
                image_width=config.image_width,
                mlp_ratio=config.mlp_ratio,
                dropout=config.dropout,
            )

    def take_prompts(self, prompt: str, build: "Callable[[str], Network]") -> "Network":
        """Say that this network was made with a prompt, by a function that makes others with the
        same weights; returns the network."""
        self.prompt, self._build = prompt, build
        return self

    def with_prompt(self, prompt: str) -> "Network":
        """A network that shares these weights and is asked something else.

        Raises OptionError where the network takes no prompt, or not this one.
        """
        if self._build is None:
            raise OptionError("this captioner takes no prompt; it only describes")
        if not isinstance(prompt, str) or not prompt.strip():
            raise OptionError(f"the prompt must be a text, not {prompt!r}")
        return self._build(prompt).to(self.device)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def pixel_values(self, images: Iterable[ImageSource]) -> Tensor:
        """Photos (anything `load_image` takes) as the encoder's input (B, 3, height, width)."""
        photos = [load_image(image) for image in images]
        processor = self.image_processor
        if processor.do_resize and not getattr(processor, "do_center_crop", False):
            height, width = self.encoder.image_size
            photos = [thin_photo(photo, (width, height), processor.resample) for photo in photos]
        return processor(photos, return_tensors="pt").pixel_values.to(self.device)

    @torch.inference_mode()
    def encode(self, images: Iterable[ImageSource]) -> Tensor:
        """Image features (B, prefix + patches, image_width) of photos."""
        return self.encoder(self.pixel_values(images))

    def encode_photos(self, images: Iterable[ImageSource]) -> list[EncodedPhoto]:
        """Photos with their image features."""
        return self.encode_pixel_values(self.pixel_values(images))

    @torch.inference_mode()
    def encode_pixel_values(self, pixel_values: Tensor) -> list[EncodedPhoto]:
        """As `encode_photos`, of the encoder's input (B, 3, height, width)."""
        features = self.encoder(pixel_values)
        return [EncodedPhoto(*both) for both in zip(pixel_values, features, strict=True)]

    def get_memory_encoder(self) -> MemoryEncoder:
        """Raises OptionError where the captioner has not learned to look at a memory."""
        if self.memory_encoder is None:
            raise OptionError(
                "this captioner has not learned to look at a memory; use one that "
                "python -m training.train_memory has taught"
            )
        return self.memory_encoder

    def encode_captions(self, captions: Sequence[Sequence[int]]) -> list[Tensor]:
        """Token lists of remembered captions -> features (tokens, image_width) of each.

        Raises OptionError as `get_memory_encoder` does.
        """
        memory_encoder = self.get_memory_encoder()
        if not captions:
            return []
        ids, visible = pad_tokens(captions, self.device)
        decoder = cast(TextDecoder, self.decoder)  # transformers' come without a memory encoder
        features = memory_encoder(decoder.token_embedding(ids), visible)
        return [row[there] for row, there in zip(features, visible, strict=True)]

    @torch.inference_mode()
    def remember(
        self, photo: EncodedPhoto, remembered: Sequence[RememberedCaption]
    ) -> EncodedPhoto:
        """The photo with these captions to look at, instead of any that it had."""
        features = self.encode_captions([caption.tokens for caption in remembered])
        return replace(
            photo,
            remembered=tuple(remembered),
            memory_features=torch.cat(features) if features else None,
        )

    def forward(
        self,
        tokens: Tensor,
        *,
        pixel_values: Tensor | None = None,
        image_features: Tensor | None = None,
    ) -> Tensor:
        """Logits (images, captions, T, vocab_size) under teacher forcing, for training.

        tokens: (images, captions, T), each beginning with the start token. The images are given
        in one of the two forms.
        """
        if image_features is None:
            image_features = self.encoder(pixel_values)
        output = self.decoder(tokens.flatten(0, 1), self.decoder.look_at(image_features))
        return output.logits.unflatten(0, tokens.shape[:2])
