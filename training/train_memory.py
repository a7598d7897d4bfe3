"""Teach a captioner to look at a memory: `python -m training.train_memory --data DIR --output DIR`.

Only the encoder of remembered captions learns. Image encoder and decoder stay as they are, so that
without a memory the captions do too.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm
from transformers import get_cosine_schedule_with_warmup

from model.captioner import Captioner, choose_device
from model.error_reporting import report_errors
from model.errors import DataError
from model.memory import Memory, RememberedPhoto
from model.memory.memory import NUM_NEAREST, fingerprint_encoder, pool_photos
from model.memory.nearest import Neighbour, create_search
from model.network.memory_encoder import stack_contexts
from model.network.network import Network
from model.output_path import check_output_folder
from training.data import CaptionedImage, read_corpora
from training.data.dataset import IGNORED, cache_features, encode_caption
from training.evaluation.data_checks import check_data
from training.loop.precision import is_bfloat16_fast
from training.options import (
    COUNT,
    FRACTION,
    POSITIVE,
    SEED,
    HelpFormatter,
    add_cache_option,
    add_checkpoint_option,
    add_data_options,
    add_number_options,
    check_numbers,
)

POOLING_BATCH = 256  # photos
RETRIEVAL_BLOCK = 256  # photos whose nearest are looked for together


def add_memory_encoder(captioner: Captioner, num_layers: int) -> Captioner:
    """The captioner with a new memory encoder, which alone may learn."""
    old = captioner.network
    network = Network(
        replace(old.config, memory_layers=num_layers),
        old.tokenizer,
        old.image_processor,
        old.encoder,
        old.decoder,
    )
    network.requires_grad_(False).eval()
    assert network.memory_encoder is not None  # as the configuration says
    network.memory_encoder.requires_grad_(True).to(old.device)
    return Captioner(network, name=captioner.name, familiarity=captioner.familiarity)


class Retriever:
    """What each training photo is given to look at: captions of others, never its own, nor those of
    a photo that has one of its captions, which may be the same photo under another name.

    Args:
        memory: of the training photos, in their order.
        share_random: of the photos that are given captions of any others instead of the nearest.
    """

    def __init__(self, memory: Memory, share_random: float):
        self.memory, self.share_random = memory, share_random
        self.left_out = [
            {entry.name, *memory.find_same_captions(entry.captions)} for entry in memory.entries
        ]
        search = create_search(memory.features)
        self.nearest: list[list[Neighbour]] = []
        for start in tqdm(range(0, len(memory), RETRIEVAL_BLOCK), "nearest", leave=False):
            stop = start + RETRIEVAL_BLOCK
            enough = NUM_NEAREST + max(map(len, self.left_out[start:stop]))
            block = search.find_many(memory.features[start:stop].float(), enough)
            for index, neighbours in enumerate(block, start):
                others = [n for n in neighbours if self._may_see(index, n.entry)]
                self.nearest.append(others[:NUM_NEAREST])

    def _may_see(self, index: int, entry: int) -> bool:
        """Whether photo `index` may be given captions of this entry."""
        return self.memory.entries[entry].name not in self.left_out[index]

    def choose_entries(self, index: int, random_numbers: random.Random) -> list[Neighbour]:
        """The entries for photo `index`: 1 to `NUM_NEAREST` of the nearest, or of any others."""
        count = random_numbers.randint(1, NUM_NEAREST)
        if random_numbers.random() >= self.share_random:
            return self.nearest[index][:count]
        enough = min(count + len(self.left_out[index]), len(self.memory))
        drawn = random_numbers.sample(range(len(self.memory)), enough)
        return [Neighbour(i, 0.0) for i in drawn if self._may_see(index, i)][:count]


def compute_loss(
    network: Network,
    image_features: Tensor,
    remembered: Sequence[Sequence[Sequence[int]]],
    captions: Sequence[Sequence[Sequence[int]]],
) -> Tensor:
    """The mean cross-entropy of the captions' tokens.

    image_features: (images, S, image_width). remembered: for each image token lists without start
        and end. captions: token lists as `encode_caption` gives them, equally many an image.
    """
    flat = [tokens for group in remembered for tokens in group]
    features = iter(network.encode_captions(flat))
    contexts = [
        torch.cat([image, *(next(features) for _ in group)])
        for image, group in zip(image_features, remembered, strict=True)
    ]
    rows = [torch.tensor(tokens) for group in captions for tokens in group]
    tokens = nn.utils.rnn.pad_sequence(rows, True, IGNORED).to(network.device)
    labels = tokens[:, 1:]
    inputs = tokens[:, :-1].masked_fill(tokens[:, :-1] == IGNORED, 0)
    logits = network.decoder(inputs, network.decoder.look_at(*stack_contexts(contexts))).logits
    return F.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, label_smoothing=0.1
    )


@report_errors
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.train_memory",
        description="Teach a captioner to look at captions of remembered photos.",
        formatter_class=HelpFormatter,
    )
    add_data_options(parser, several=True)
    add_checkpoint_option(parser)
    add_cache_option(parser, features=True)
    parser.add_argument("--output", required=True, help="folder of the captioner that has learned")
    numbers = {
        "memory_layers": (COUNT, 2, "layers of the memory encoder"),
        "epochs": (COUNT, 4, "passes over the photos"),
        "batch_size": (COUNT, 32, "photos a step"),
        "captions_per_photo": (COUNT, 2, "of a photo's captions, drawn anew in each pass"),
        "rate": (POSITIVE, 5e-4, "peak learning rate"),
        "share_random": (FRACTION, 0.15, "of the photos that see captions of any others"),
        "seed": (SEED, 0, "seed of weights and order"),
    }
    add_number_options(parser, numbers)
    settings = parser.parse_args(arguments)
    check_numbers(parser, settings, numbers)
    output = Path(settings.output)
    for folder in (output, settings.cache):
        check_output_folder(folder)
    corpora = read_corpora(settings.data, settings.format, settings.cache)
    listed = [item for corpus in corpora for item in corpus.items if item.split == "train"]
    items = check_data(listed).readable
    if lost := len(listed) - len(items):
        print(f"warning: {lost} photos cannot be read and are left out", file=sys.stderr)
    if len(items) < 2:
        raise DataError(
            f"{', '.join(settings.data)}: {len(items)} train photos; a memory takes two, of which "
            "one shows the other's captions"
        )
    torch.manual_seed(settings.seed)
    plain = Captioner.from_pretrained(settings.checkpoint).to(choose_device())
    captioner = add_memory_encoder(plain, settings.memory_layers)
    train(captioner, items, settings, output)
    return 0


def train(
    captioner: Captioner,
    items: Sequence[CaptionedImage],
    settings: argparse.Namespace,
    output: Path,
) -> None:
    """Train the memory encoder, and save the captioner after every pass."""
    network, random_numbers = captioner.network, random.Random(settings.seed)
    (features,) = cache_features(network, items, Path(settings.cache), bf16=is_bfloat16_fast())
    pooled = torch.cat(
        [
            pool_photos(torch.from_numpy(batch), network.encoder.num_prefix_tokens).half()
            for batch in np.array_split(features, -(-len(features) // POOLING_BATCH))
        ]
    )
    entries = tuple(RememberedPhoto(item.name, tuple(item.captions)) for item in items)
    memory = Memory(entries, pooled, captioner.name, fingerprint_encoder(network))
    retriever = Retriever(memory, settings.share_random)
    texts = [
        [encode_caption(text, network.tokenizer, network.config.max_length) for text in captions]
        for captions in (item.captions for item in items)
    ]
    assert network.memory_encoder is not None
    optimiser = torch.optim.AdamW(network.memory_encoder.parameters(), settings.rate)
    steps = settings.epochs * -(-len(items) // settings.batch_size)
    schedule = get_cosine_schedule_with_warmup(optimiser, -(-steps // 10), steps)
    for epoch in range(settings.epochs):
        order = random_numbers.sample(range(len(items)), len(items))
        total = 0.0
        network.memory_encoder.train()
        starts = range(0, len(items), settings.batch_size)
        for start in tqdm(starts, f"pass {epoch + 1}", mininterval=10):
            batch = order[start : start + settings.batch_size]
            remembered = [
                [
                    caption.tokens
                    for caption in memory.choose_captions(
                        network, retriever.choose_entries(index, random_numbers)
                    )
                ]
                for index in batch
            ]
            captions = [
                random_numbers.choices(texts[i], k=settings.captions_per_photo) for i in batch
            ]
            seen = torch.from_numpy(features[batch]).float().to(network.device)
            with torch.autocast(network.device.type, torch.bfloat16, is_bfloat16_fast()):
                loss = compute_loss(network, seen, remembered, captions)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.memory_encoder.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(f"pass {epoch + 1}: loss {total / len(starts):.4f}", flush=True)
        network.memory_encoder.eval()
        captioner.save_pretrained(output)


if __name__ == "__main__":
    sys.exit(main())
