"""What a photo costs with the shipped captioner: `python -m benchmarks.photo`.

Alone, from JPEG bytes to its caption with all maps, and in batches; by the length of captions; the
encoder beside this machine's matrix products; memory.
"""

import io
import resource
from collections.abc import Iterator

import torch

from benchmarks.machine import PRODUCT, count_operations, make_matrix_product
from benchmarks.timing import Row, print_rows, time_in_turns
from model import load
from model.images import find_images, load_image

EXAMPLES = "assets/examples"
BATCHES = (1, 8, 32)
LENGTHS = (5, 10, 20, 40)


def measure() -> Iterator[Row]:
    threads = f"{torch.get_num_threads()} threads"
    captioner = load()
    files = [encode_jpeg(path) for path in find_images(EXAMPLES)]
    photos = [load_image(file) for file in files]
    encoded = captioner.encode(photos[:1])
    caption = captioner.caption(encoded[0])

    part = f"one photo, from JPEG bytes; {threads}"
    steps = {
        "decode": lambda: load_image(files[0]),
        "encode": lambda: captioner.network.encode(photos[:1]),
        "generate, five beams": lambda: captioner.captions(encoded),
        "maps of all words": lambda: captioner.explain(encoded[0], caption).heatmaps(),
        "runners-up of all words": lambda: captioner.alternatives(encoded[0], caption),
        "greedy instead": lambda: captioner.captions(encoded, num_beams=1),
    }
    taken = time_in_turns(steps)
    whole = sum(taken[name] for name in list(steps)[:4])
    yield Row(part, "caption with all maps", 1e3 * whole, "ms")
    for name, seconds in taken.items():
        yield Row(part, name, 1e3 * seconds, "ms", seconds / whole, "caption with all maps")

    part = f"photos in batches; {threads}"
    for name, beams in (("greedy", 1), ("five beams", 5)):
        works = {}
        for size in BATCHES:
            batch = (photos * size)[:size]
            works[f"{name}, {size} at a time"] = lambda batch=batch, beams=beams: (
                captioner.captions(batch, num_beams=beams)
            )
        rates = {
            what: size / seconds
            for (what, seconds), size in zip(time_in_turns(works, 5).items(), BATCHES, strict=True)
        }
        first = next(iter(rates))
        for what, rate in rates.items():
            yield Row(part, what, rate, "captions/s", rate / rates[first], first)

    part = f"a greedy caption by its length; {threads}"
    works = {
        f"{length} tokens": lambda length=length: captioner.captions(
            encoded, num_beams=1, min_length=length, max_length=length
        )
        for length in LENGTHS
    }
    each = {
        what: seconds / length
        for (what, seconds), length in zip(time_in_turns(works).items(), LENGTHS, strict=True)
    }
    first = next(iter(each))
    for what, seconds in each.items():
        yield Row(part, what, 1e3 * seconds, "ms a token", seconds / each[first], first)

    part = f"the encoder, 8 photos at a time; {threads}"
    pixels = captioner.network.pixel_values((photos * 2)[:8])
    works = {
        "encoder": lambda: encode(captioner, pixels),
        "product": make_matrix_product(torch.float32),
    }
    taken = time_in_turns(works)
    rate = count_operations(works["encoder"]) / taken["encoder"]
    ceiling = PRODUCT / taken["product"]
    yield Row(part, "float32", rate / 1e9, "GFLOP/s", rate / ceiling, "the matrix product's")

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    yield Row("memory", "this process at most, batches of 32 included", peak, "MB")


@torch.inference_mode()
def encode(captioner, pixels: torch.Tensor) -> torch.Tensor:
    return captioner.network.encoder(pixels)


def encode_jpeg(path) -> bytes:
    """A photo as phones save it: 12 million pixels."""
    buffer = io.BytesIO()
    load_image(path).resize((4000, 3000)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


if __name__ == "__main__":
    print_rows(measure())
