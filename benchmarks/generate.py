"""Our decoder beside transformers' `generate`: `python -m benchmarks.generate`.

The same weights on both sides, random ones, of two sizes: the shipped captioner's, and that of the
best-known one, ViT-B/16 with GPT-2. Captions run to 16 tokens. With maps: the cross-attention
weights of the caption, which `generate` gives with `output_attentions`. The encoder is the same
code on both sides; so its share of our time is printed too.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from tokenizers import Tokenizer, models
from transformers import (
    Dinov2Config,
    GPT2Config,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTImageProcessor,
)
from transformers.utils import logging

from benchmarks.timing import Row, print_rows, time_in_turns
from model import Captioner
from model.checkpoint.families.vision_encoder_decoder import assemble

LENGTH = 16  # tokens
PHOTOS = 8
SIZES = {
    "the shipped size": (
        Dinov2Config(hidden_size=384, num_attention_heads=6, patch_size=14, image_size=518),
        GPT2Config(
            add_cross_attention=True,
            n_embd=256,
            n_layer=4,
            n_head=8,
            vocab_size=4000,
            n_positions=48,
            bos_token_id=3999,
            eos_token_id=3999,
        ),
    ),
    "ViT-B + GPT-2": (ViTConfig(), GPT2Config(add_cross_attention=True)),
}


def measure() -> Iterator[Row]:
    logging.set_verbosity_error()
    for name, (encoder, decoder) in SIZES.items():
        yield from _measure(name, encoder, decoder)


def _measure(name: str, encoder: PretrainedConfig, decoder: PretrainedConfig) -> Iterator[Row]:
    model, captioner = build_both(encoder, decoder)
    end = decoder.vocab_size - 1
    noise = [Image.effect_noise((224, 224), 40 + 9 * i).convert("RGB") for i in range(PHOTOS)]
    pixels = captioner.network.pixel_values(noise)
    part = f"beside transformers, {name}; {PHOTOS} photos, {torch.get_num_threads()} threads"

    @torch.inference_mode()
    def ours(num_beams: int) -> list[list[int]]:
        encoded = captioner.network.encode_pixel_values(pixels)
        captions = captioner.captions(encoded, num_beams=num_beams, max_length=LENGTH)
        return [list(found[0].tokens) for found in captions]

    def theirs(num_beams: int) -> list[list[int]]:
        rows = model.generate(pixels, num_beams=num_beams, max_length=LENGTH + 1)[:, 1:].tolist()
        return [row[: row.index(end) + 1] if end in row else row for row in rows]

    def our_maps() -> None:
        encoded = captioner.network.encode_pixel_values(pixels)
        captions = captioner.captions(encoded, num_beams=1, max_length=LENGTH)
        for photo, caption in zip(encoded, captions, strict=True):
            captioner.explain(photo, caption[0], methods=["attention"]).heatmaps("attention")

    def their_maps() -> None:
        model.generate(
            pixels, max_length=LENGTH + 1, output_attentions=True, return_dict_in_generate=True
        )

    @torch.inference_mode()
    def encode() -> None:
        captioner.network.encoder(pixels)

    for what, num_beams in (("greedy", 1), ("five beams", 5)):
        same = sum(a == b for a, b in zip(ours(num_beams), theirs(num_beams), strict=True))
        taken = time_in_turns(
            {
                "ours": lambda n=num_beams: ours(n),
                "theirs": lambda n=num_beams: theirs(n),
                "encoder": encode,
            },
            5,
        )
        told = f"{what}, {same} of {PHOTOS} the same"
        ratio = taken["theirs"] / taken["ours"]
        yield Row(part, told, PHOTOS / taken["ours"], "captions/s", ratio, "transformers")
        share = taken["encoder"] / taken["ours"]
        yield Row(part, "  of it the encoder", 1e3 * taken["encoder"] / PHOTOS, "ms", share, what)
    model.decoder.set_attn_implementation("eager")  # the only one that gives weights
    taken = time_in_turns({"ours": our_maps, "theirs": their_maps}, 5)
    ratio = taken["theirs"] / taken["ours"]
    yield Row(part, "greedy, with weights", PHOTOS / taken["ours"], "captions/s", ratio, "theirs")


def build_both(
    encoder: PretrainedConfig, decoder: PretrainedConfig
) -> tuple[VisionEncoderDecoderModel, Captioner]:
    """transformers' model, and ours with its weights."""
    torch.manual_seed(0)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    model = VisionEncoderDecoderModel(config=config).eval()
    with torch.no_grad():  # so that captions depend on the photo, and hardly ever end
        for p in model.decoder.parameters():
            if p.dim() == 2:
                p.mul_(2)
    end = decoder.vocab_size - 1
    for part in (model.config, model.generation_config):
        part.decoder_start_token_id = part.eos_token_id = part.pad_token_id = end
    # words are not what is measured: any tokenizer with as many will do
    words = {str(i): i for i in range(decoder.vocab_size)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="0"))
    )
    return model, assemble(model, tokenizer, ViTImageProcessor(), Path("random"))


if __name__ == "__main__":
    print_rows(measure())
