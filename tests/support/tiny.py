"""Tiny random captioners that tests build in a moment, and photos that they draw."""

from dataclasses import replace

import torch
from PIL import Image
from transformers import Dinov2Config, PreTrainedConfig

from model.captioner import Captioner
from model.network.config import CaptionerConfig
from model.network.decoder import TextDecoder
from model.network.image_processor import read_image_processor
from model.network.network import Network
from model.network.tokenizer import CaptionTokenizer

SENTENCES = [
    "A brown dog runs through the grass.",
    "Two children play in the red water.",
    "A man in a blue shirt climbs a rock.",
]


def tiny_encoder_config(**changes) -> PreTrainedConfig:
    settings = dict(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2,
        patch_size=14,
        image_size=56,
    )
    return Dinov2Config(**{**settings, **changes})


def tiny_captioner(
    image_size: tuple[int, int] = (56, 56), encoder: PreTrainedConfig | None = None, seed: int = 0
) -> Captioner:
    """A random captioner whose words differ from photo to photo."""
    torch.manual_seed(seed)
    tokenizer = CaptionTokenizer.train(SENTENCES, 300)
    config = CaptionerConfig(
        encoder=(encoder or tiny_encoder_config()).to_diff_dict(),
        image_size=image_size,
        vocab_size=tokenizer.vocab_size,
        max_length=40,
        width=32,
        num_layers=2,
        num_heads=2,
        decoding={"max_length": 12},
    )
    processor = read_image_processor(
        {
            "image_processor_type": "BitImageProcessor",
            "size": {"height": image_size[0], "width": image_size[1]},
            "do_center_crop": False,
        }
    )
    captioner = Captioner(Network(config, tokenizer, processor))
    with torch.no_grad():
        for p in captioner.network.decoder.parameters():
            if p.dim() == 2:
                p.mul_(6)
        # single bytes seldom win, so that captions are made of words
        captioner.network.decoder.token_embedding.weight[2:258] *= 0.1
    captioner.network.eval()
    return captioner


def tiny_captioner_with_memory(image_size: tuple[int, int] = (56, 56), seed: int = 0) -> Captioner:
    """As `tiny_captioner`, with a random memory encoder."""
    plain = tiny_captioner(image_size, seed=seed).network
    torch.manual_seed(seed)
    network = Network(
        replace(plain.config, memory_layers=1),
        plain.tokenizer,
        plain.image_processor,
        plain.encoder,
        plain.decoder,
    )
    return Captioner(network.eval())


def sharpen_attention(captioner: Captioner) -> None:
    """Make the random captioner's words and maps depend on the photo more than they do."""
    with torch.no_grad():
        for p in captioner.network.encoder.parameters():
            if p.dim() >= 2:
                p.mul_(4)
        for block in captioner.network.decoder.blocks:
            attention = block.cross_attn
            for linear in (attention.query, attention.key, attention.value):
                linear.weight.mul_(3)


def tiny_decoder(
    vocab_size: int = 12,
    max_length: int = 16,
    seed: int = 0,
    scale: float = 8.0,
    project_image: bool = False,
) -> TextDecoder:
    """A random decoder whose next-token distributions are far from uniform."""
    torch.manual_seed(seed)
    decoder = TextDecoder(
        vocab_size=vocab_size,
        max_length=max_length,
        width=16,
        num_layers=2,
        num_heads=2,
        image_width=10,
        dropout=0.1,
        project_image=project_image,
    ).eval()
    with torch.no_grad():
        for p in decoder.parameters():
            if p.dim() == 2:
                p.mul_(scale)
    return decoder


def random_features(count: int, seed: int = 1) -> torch.Tensor:
    """Image features for `tiny_decoder`, of 7 tokens each: (count, 7, 10)."""
    return torch.randn(count, 7, 10, generator=torch.Generator().manual_seed(seed))


def draw_photo(width: int = 60, height: int = 40, colour: tuple = (200, 60, 30)) -> Image.Image:
    """A gradient of a colour: no two colours give the same photo."""
    photo = Image.linear_gradient("L").resize((width, height))
    return Image.composite(
        Image.new("RGB", photo.size, colour), Image.new("RGB", photo.size, (20, 120, 90)), photo
    )
