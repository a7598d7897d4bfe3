"""The best-known captioner's size on our decoder and on transformers' own, side by side.

`python -m benchmarks.vit_gpt2`: ViT-B/16 and GPT-2 (12 layers, 768 wide) with random weights, the
same on both sides. Captions run to `--max-length` tokens; those that differ are counted.
"""

import argparse
import sys
import time
from pathlib import Path
from statistics import median

import torch
from PIL import Image
from tokenizers import Tokenizer, models
from transformers import (
    GPT2Config,
    PreTrainedTokenizerFast,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTImageProcessor,
)

from model.vision_encoder_decoder import assemble


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vit_gpt2", description=__doc__)
    parser.add_argument("--photos", type=int, default=4, help="in a batch; 4")
    parser.add_argument("--max-length", type=int, default=16, help="of a caption; 16 tokens")
    parser.add_argument("--pairs", type=int, default=5, help="of runs, one of each in turn; 5")
    settings = parser.parse_args()
    torch.manual_seed(0)
    gpt2 = GPT2Config(add_cross_attention=True)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(), gpt2)
    model = VisionEncoderDecoderModel(config=config).eval()
    with torch.no_grad():  # so that captions depend on the photo, and hardly ever end
        for p in model.decoder.parameters():
            if p.dim() == 2:
                p.mul_(2)
    for part in (model.config, model.generation_config):
        part.decoder_start_token_id = part.eos_token_id = part.pad_token_id = 50256
    # words are not what is measured: any tokenizer with as many will do
    words = Tokenizer(models.WordLevel({str(i): i for i in range(50257)}, unk_token="0"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words)
    captioner = assemble(model, tokenizer, ViTImageProcessor(), Path("random"))
    pixels = captioner.pixel_values(
        [Image.effect_noise((224, 224), 40 + 9 * i).convert("RGB") for i in range(settings.photos)]
    )

    @torch.inference_mode()
    def ours(num_beams: int) -> list[list[int]]:
        features = captioner.encoder(pixels)
        options = {"num_beams": num_beams, "max_length": settings.max_length}
        return [list(c[0].tokens) for c in captioner.captions(features, **options)]

    def theirs(num_beams: int) -> list[list[int]]:
        longest = settings.max_length + 1  # the start token counts
        rows = model.generate(pixels, num_beams=num_beams, max_length=longest)[:, 1:].tolist()
        return [row[: row.index(50256) + 1] if 50256 in row else row for row in rows]

    print(f"{settings.photos} photos at a time, {torch.get_num_threads()} threads, float32")
    print(f"{'':8}{'ours':>14}{'transformers':>14}{'ratio':>8}  captions that differ")
    for name, num_beams in (("greedy", 1), ("4 beams", 4)):
        differ = sum(a != b for a, b in zip(ours(num_beams), theirs(num_beams), strict=True))
        spent: dict = {ours: [], theirs: []}
        for _ in range(settings.pairs):
            for run in (ours, theirs):
                begun = time.perf_counter()
                run(num_beams)
                spent[run].append(time.perf_counter() - begun)
        rate = {run: settings.photos / median(times) for run, times in spent.items()}
        print(
            f"{name:8}{rate[ours]:12.2f}/s{rate[theirs]:12.2f}/s"
            f"{rate[ours] / rate[theirs]:8.2f}  {differ} of {settings.photos}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
