"""What a training step costs: `python -m benchmarks.training`.

The shipped captioner learns from 32 drawn photos with five captions each, in bfloat16, as
`training.train` does. A step is everything from JPEG bytes, or from a frozen encoder's cached
features, to the changed weights. All ways to train take turns in one run; printed are the median
speed, the cost beside the first way, and the share of the rate at which this machine multiplies two
large matrices, measured in the same turns.
"""

import io
import random
from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks.machine import PRODUCT, count_operations, make_matrix_product
from benchmarks.timing import Row, print_rows, time_in_turns
from model import load
from model.images import load_image
from training.data.dataset import collate, encode_caption, get_view_index
from training.data.shapes import draw_scene, list_scenes
from training.loop.learner import Learner
from training.loop.trainable_parameters import freeze_other_parts, group_parameters
from training.settings import TrainingSettings

PHOTOS = 32
CAPTIONS = 5
ROUNDS = 5
CACHED = "decoder; features cached"
WAYS = {
    CACHED: {},
    "LoRA on the decoder; features cached": {"tune": "lora"},
    "decoder; encoder run each time": {},
    "and the last 4 encoder blocks": {"encoder_rate": 1e-5, "encoder_blocks": 4},
    "and the whole encoder": {"encoder_rate": 1e-5},
    "the same, half of the patches": {"encoder_rate": 1e-5, "patch_dropout": 0.5},
}


def draw_jpegs() -> tuple[list[bytes], list[str]]:
    """Drawn photos of a usual size, and a caption for each."""
    files, captions = [], []
    for number, scene in enumerate(list_scenes(0)["train"][:PHOTOS]):
        file = io.BytesIO()
        draw_scene(scene, random.Random(number)).resize((500, 375)).save(file, "JPEG")
        files.append(file.getvalue())
        captions.append(scene.caption)
    return files, captions


def make_step(options: dict[str, Any], cached: bool) -> Callable[[], None]:
    """A training step of the shipped captioner, with an optimizer of its own."""
    settings = TrainingSettings(data="-", output="-", **options)
    captioner = load()
    freeze_other_parts(
        captioner.network,
        settings.tune,
        settings.lora_rank,
        train_encoder=settings.encoder_rate > 0,
        encoder_blocks=settings.encoder_blocks,
    )
    captioner.network.encoder.patch_dropout = settings.patch_dropout
    learner = Learner(captioner.network, settings.label_smoothing)
    optimizer = torch.optim.AdamW(
        group_parameters(learner, settings.rate, settings.encoder_rate, settings.weight_decay)
    )
    files, captions = draw_jpegs()
    features = captioner.network.encode(files).half() if cached else None
    learner.train()

    def once() -> None:
        examples = []
        for i, (file, caption) in enumerate(zip(files, captions, strict=True)):
            tokens = encode_caption(
                caption, captioner.network.tokenizer, captioner.network.config.max_length
            )
            example = {
                "view_index": get_view_index(i, mirror=False),
                "captions": [tokens] * CAPTIONS,
            }
            if features is None:
                example["pixel_values"] = captioner.network.pixel_values([load_image(file)])[0]
            else:
                example["image_features"] = features[i].float()
            examples.append(example)
        with torch.autocast("cpu", torch.bfloat16):
            loss = learner(**collate(examples))["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return once


def measure() -> Iterator[Row]:
    steps = {name: make_step(options, "cached" in name) for name, options in WAYS.items()}
    counted = {name: count_operations(work) for name, work in steps.items()}
    taken = time_in_turns({**steps, "product": make_matrix_product(torch.bfloat16)}, ROUNDS)
    rate = PRODUCT / taken.pop("product")
    part = f"training, {PHOTOS} photos a step in bfloat16; {torch.get_num_threads()} threads"
    for name, seconds in taken.items():
        yield Row(part, name, PHOTOS / seconds, "photos/s", seconds / taken[CACHED], "cached: time")
        share = counted[name] / seconds / rate
        yield Row(part, "  its operations", share * rate / 1e9, "GFLOP/s", share, "product's rate")


if __name__ == "__main__":
    print_rows(measure())
