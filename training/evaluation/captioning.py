"""Captions of a split, their scores, and the scores without seeing the photos or with a memory.

Without the photos means: every photo's features are replaced by their mean over the split, so that
all the decoder has left is its knowledge of captions. The difference is what cross-attention is
worth.
"""

import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from model.memory import Memory
from model.network.memory_encoder import stack_contexts
from model.network.network import Network
from model.search.caption import Caption
from model.search.generation import choose_options, write_captions
from model.search.options import DecodingOptions
from training.data import CaptionedImage, DataError
from training.evaluation.caption_statistics import compute_statistics
from training.evaluation.metrics import drop_wordless, score_captions

BATCH_SIZE = 16  # photos


def encode_batches(
    network: Network,
    items: Sequence[CaptionedImage],
    features: np.ndarray | None = None,
    batch_size: int = BATCH_SIZE,
) -> Iterator[tuple[Sequence[CaptionedImage], Tensor]]:
    """Batches of photos with their image features (B, S, width).

    features: (photos, S, width) where they are computed already; else the photos are encoded.
    """
    for start in tqdm(range(0, len(items), batch_size), "captioning", leave=False):
        batch = items[start : start + batch_size]
        if features is None:
            yield batch, network.encode([item.path for item in batch])
        else:
            cached = torch.from_numpy(features[start : start + batch_size])
            yield batch, cached.float().to(network.device)


def caption_photos(
    network: Network, items: Sequence[CaptionedImage], options: DecodingOptions
) -> tuple[dict[str, Caption], Tensor]:
    """A caption for each photo, by its name, and the mean of their image features (S, width)."""
    captions: dict[str, Caption] = {}
    total = 0
    for batch, features in encode_batches(network, items):
        total = total + features.double().sum(dim=0)
        for item, (caption, *_) in zip(
            batch, write_captions(network, features, options), strict=True
        ):
            captions[item.name] = caption
    return captions, (total / len(items)).to(features.dtype)


def caption_with_memory(
    network: Network, items: Sequence[CaptionedImage], options: DecodingOptions, memory: Memory
) -> dict[str, Caption]:
    """A caption for each photo, by its name, that may borrow from remembered photos, of which none
    has the name of a photo to be captioned, or one of its captions: these would be the answer."""
    names = {item.name for item in items}
    captions: dict[str, Caption] = {}
    for start in tqdm(range(0, len(items), BATCH_SIZE), "captioning with memory", leave=False):
        batch = items[start : start + BATCH_SIZE]
        photos = network.encode_photos([item.path for item in batch])
        recalled = []
        for item, photo in zip(batch, photos, strict=True):
            leave_out = names | memory.find_same_captions(item.captions)
            recalled += memory.recall(network, [photo], leave_out)
        contexts, visible = stack_contexts([photo.context for photo in recalled])
        written = write_captions(network, contexts, options, visible=visible)
        captions |= {item.name: best for item, (best, *_) in zip(batch, written, strict=True)}
    return captions


def evaluate_network(
    network: Network, items: Sequence[CaptionedImage], memory: Memory | None = None, **options
) -> dict:
    """Caption the photos and score the captions.

    memory: of a captioner that may look at it, to be scored beside none.
    options: of `DecodingOptions`; the checkpoint's own where they are not given.

    Returns:
        A record for JSON: points by metric name, `made_with` (how each was computed),
        `num_images`, `unscored` (photos of which no reference has a word), `no_image` (the points
        without the photos, and the caption that all of them get), the counts of
        `compute_statistics`, `seconds`, and `captions` by name; with a memory also `with_memory`
        (the points with it, how many photos it has, how many of these were left out, as they are
        among those that are captioned, and the captions).

    Raises DataError when no photo can be scored.
    """
    references = {item.name: drop_wordless(item.captions) for item in items}
    if not any(references.values()):
        raise DataError("nothing to score: none of the photos has a caption with words in it")
    decoding = choose_options(network.config, **options)
    start = time.monotonic()
    captions, mean_features = caption_photos(network, items, decoding)
    texts = {name: caption.text for name, caption in captions.items()}
    seconds = time.monotonic() - start
    blind_caption = write_captions(network, mean_features[None], decoding)[0][0].text
    scores = score_captions(texts, references)
    blind_scores = score_captions(dict.fromkeys(texts, blind_caption), references)
    with_memory = {}
    if memory is not None:
        borrowing = caption_with_memory(network, items, decoding, memory)
        borrowing_texts = {name: caption.text for name, caption in borrowing.items()}
        with_memory["with_memory"] = {
            **score_captions(borrowing_texts, references).points,
            "num_remembered": len(memory),
            "num_left_out": sum(entry.name in references for entry in memory.entries),
            "captions": borrowing_texts,
        }
    scored_texts = {name: text for name, text in texts.items() if references[name]}
    return {
        **scores.points,
        "num_images": scores.num_images,
        "unscored": list(scores.unscored),
        "no_image": {**blind_scores.points, "caption": blind_caption},
        **with_memory,
        **compute_statistics(scored_texts, references),
        "made_with": scores.made_with,
        "seconds": round(seconds, 1),
        "captions": texts,
    }
