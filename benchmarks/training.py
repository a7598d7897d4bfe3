"""What a training step costs: `python -m benchmarks.training`.

The shipped captioner learns from 32 drawn photos with five captions each, in bfloat16, as
`training.train` does. A step is everything from JPEG bytes, or from a frozen encoder's cached
features, to the changed weights. All ways to train take turns in one run; printed are the median
speed, its share of the rate at which this machine multiplies two large matrices (measured in the
same turns), and the cost beside the first way.
"""

import io
import random
import statistics
import time
from collections.abc import Callable

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from model import load
from model.images import load_image
from training.draw import draw_scene, splits
from training.examples import collate, encode_caption
from training.learner import Learner
from training.options import parse
from training.parts import choose_parts, parameter_groups

PHOTOS = 32
CAPTIONS = 5
ROUNDS = 5
SIDE = 2048  # of the matrices
CACHED = "decoder; features cached"
WAYS = {
    CACHED: [],
    "LoRA on the decoder; features cached": ["--tune", "lora"],
    "decoder; encoder run each time": [],
    "and the last 4 encoder blocks": ["--encoder-rate", "1e-5", "--encoder-blocks", "4"],
    "and the whole encoder": ["--encoder-rate", "1e-5"],
    "the same, half of the patches": ["--encoder-rate", "1e-5", "--patch-dropout", "0.5"],
}


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def jpegs() -> tuple[list[bytes], list[str]]:
    """Drawn photos of a usual size, and a caption for each."""
    files, captions = [], []
    for number, scene in enumerate(splits(0)["train"][:PHOTOS]):
        file = io.BytesIO()
        draw_scene(scene, random.Random(number)).resize((500, 375)).save(file, "JPEG")
        files.append(file.getvalue())
        captions.append(scene.caption)
    return files, captions


def step(options: list[str], cached: bool) -> Callable[[], None]:
    """A training step of the shipped captioner, with an optimizer of its own."""
    settings = parse(["--data", "-", "--output", "-", *options])
    captioner = load()
    choose_parts(captioner, settings)
    captioner.encoder.patch_dropout = settings.patch_dropout
    learner = Learner(captioner, settings.label_smoothing)
    optimizer = torch.optim.AdamW(parameter_groups(learner, settings))
    files, captions = jpegs()
    features = captioner.encode(files).half() if cached else None
    learner.train()

    def once() -> None:
        examples = []
        for i, (file, caption) in enumerate(zip(files, captions, strict=True)):
            tokens = encode_caption(caption, captioner.tokenizer, captioner.config.max_length)
            example = {"image": 2 * i, "captions": [tokens] * CAPTIONS}
            if features is None:
                example["pixel_values"] = captioner.pixel_values([load_image(file)])[0]
            else:
                example["image_features"] = features[i].float()
            examples.append(example)
        with torch.autocast("cpu", torch.bfloat16):
            loss = learner(**collate(examples))["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return once


def operations(work: Callable[[], object]) -> int:
    """Floating-point operations of matrix products in `work`, attention's among them."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        work()
    return counter.get_total_flops()


def main() -> None:
    a, b = torch.randn(2, SIDE, SIDE, dtype=torch.bfloat16)
    steps = {name: step(options, "cached" in name) for name, options in WAYS.items()}
    counted = {name: operations(work) for name, work in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    products = []
    for _ in range(ROUNDS):
        for name, work in steps.items():
            products.append(timed(lambda: a @ b))
            times[name].append(timed(work))
    rate = 2 * SIDE**3 / statistics.median(products)
    seconds = {name: statistics.median(taken) for name, taken in times.items()}
    print(f"{torch.get_num_threads()} threads, matrix products at {rate / 1e9:.0f} GFLOP/s")
    print(f"{'what learns':38}{'photos/s':>9}{'of that rate':>14}{'cost':>8}")
    for name, taken in seconds.items():
        print(
            f"{name:38}{PHOTOS / taken:9.1f}{counted[name] / taken / rate:14.0%}"
            f"{taken / seconds[CACHED]:7.1f}×"
        )


if __name__ == "__main__":
    main()
