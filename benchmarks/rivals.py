"""The shipped captioner beside what people pick instead: `python -m benchmarks.rivals`.

vit-gpt2-image-captioning and BLIP-base through transformers, of their real sizes with random
weights: time and memory do not depend on what these are. All captions have as many tokens, with
the beams that each is used with. Every captioner has a process of its own, which waits while
another works.
"""

import multiprocessing
import resource
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.pool import Pool

import torch
from PIL import Image

from benchmarks.timing import Row, print_rows, time_in_turns
from model import load
from model.images import find_images, load_image

LENGTH = 12  # tokens
BATCHES = (1, 8)
ROUNDS = 5
Photos = list[Image.Image]


def load_shipped() -> Callable[[Photos], object]:
    captioner = load()
    return lambda photos: captioner.captions(photos, min_length=LENGTH, max_length=LENGTH)


def load_vit_gpt2() -> Callable[[Photos], object]:
    """The sizes of nlpconnect/vit-gpt2-image-captioning, and the beams of its model card."""
    from transformers import (
        GPT2Config,
        VisionEncoderDecoderConfig,
        VisionEncoderDecoderModel,
        ViTConfig,
        ViTImageProcessor,
    )

    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        ViTConfig(), GPT2Config(add_cross_attention=True)
    )
    model = VisionEncoderDecoderModel(config=config).eval()
    end = config.decoder.vocab_size - 1
    for part in (model.config, model.generation_config):
        part.decoder_start_token_id = part.eos_token_id = part.pad_token_id = end
    return caption_with_transformers(model, ViTImageProcessor(), num_beams=4)


def load_blip() -> Callable[[Photos], object]:
    """The sizes of Salesforce/blip-image-captioning-base, whose model card is greedy."""
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessor

    model = BlipForConditionalGeneration(BlipConfig()).eval()
    return caption_with_transformers(model, BlipImageProcessor(), num_beams=1)


def caption_with_transformers(model, processor, num_beams: int) -> Callable[[Photos], object]:
    lengths = {"min_new_tokens": LENGTH, "max_new_tokens": LENGTH}

    def caption(photos: Photos) -> object:
        pixels = processor(photos, return_tensors="pt").pixel_values
        return model.generate(pixel_values=pixels, num_beams=num_beams, **lengths)

    return caption


LOADERS = {
    "the shipped captioner, five beams": load_shipped,
    "vit-gpt2, four beams": load_vit_gpt2,
    "BLIP-base, greedy": load_blip,
}


class Worker:
    """What a process holds: one captioner and photos."""

    caption: Callable[[Photos], object]
    photos: Photos

    @classmethod
    def start(cls, name: str, num_threads: int) -> None:
        torch.set_num_threads(num_threads)
        torch.manual_seed(0)
        cls.caption = staticmethod(LOADERS[name]())
        examples = [load_image(path) for path in find_images("assets/examples")]
        cls.photos = (examples * max(BATCHES))[: max(BATCHES)]

    @classmethod
    def work(cls, batch_size: int) -> None:
        cls.caption(cls.photos[:batch_size])

    @classmethod
    def measure_memory(cls) -> float:
        """Megabytes, at most so far."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure() -> Iterator[Row]:
    context = multiprocessing.get_context("spawn")
    threads = torch.get_num_threads()
    pools: dict[str, Pool] = {}
    try:
        for name in LOADERS:
            pools[name] = context.Pool(1, Worker.start, (name, threads))
        ours = next(iter(LOADERS))
        for size in BATCHES:
            part = f"captions of {LENGTH} tokens, photos in batches of {size}; {threads} threads"
            works = {
                name: partial(pool.apply, Worker.work, (size,)) for name, pool in pools.items()
            }
            taken = time_in_turns(works, ROUNDS)
            for name, seconds in taken.items():
                ratio = taken[ours] / seconds
                yield Row(part, name, size / seconds, "captions/s", ratio, ours)
        megabytes = {name: pool.apply(Worker.measure_memory) for name, pool in pools.items()}
        part = "memory of such a process at most"
        for name, value in megabytes.items():
            yield Row(part, name, value, "MB", value / megabytes[ours], ours)
    finally:
        for pool in pools.values():
            pool.terminate()


if __name__ == "__main__":
    print_rows(measure())
