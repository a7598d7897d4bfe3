"""Whether a translator's alignment names the source words that its words were made from.

As for the maps of photos: what a word looked at is right where the word becomes less likely without
it. Each source word is deleted in turn, and the translation is read again beside what is left.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from model.translation import Translation
from model.translation.alignment import choose_heads
from model.translation.network import TranslatorNetwork

RANDOM, DIAGONAL, HIGHEST = "random", "diagonal", "highest possible"


class Heads(NamedTuple):
    """Whose cross-attention is the alignment, counted from 0; None: the mean over all."""

    layer: int | None = None
    head: int | None = None

    def __str__(self) -> str:
        layer = "all layers" if self.layer is None else f"layer {self.layer}"
        return layer if self.head is None else f"{layer}, head {self.head}"


def list_heads(network: TranslatorNetwork) -> list[Heads]:
    """All layers together, each layer, and each head of each layer."""
    layers, heads = range(network.config.num_decoder_layers), range(network.config.num_heads)
    of_heads = [Heads(layer, head) for layer in layers for head in heads]
    return [Heads(), *map(Heads, layers), *of_heads]


@torch.inference_mode()
def measure_drops(translation: Translation) -> NDArray[np.float32]:
    """How much the log-probability of each word of a translation falls without each word of the
    source: (target words, source words)."""
    network = translation.network
    source, _ = network.tokenizer.encode(translation.source)
    shortened = [source[: w.start] + source[w.stop :] for w in translation.source_words]
    cache = network.read_sentences([source, *shortened])
    start = network.tokenizer.starts[translation.language]
    read = torch.tensor([[start, *translation.tokens[:-1]]], device=network.device)
    logits = network.decoder(read.repeat(cache.num_images, 1), cache).logits.float()
    written = torch.tensor(translation.tokens, device=network.device)
    likelihoods = logits.log_softmax(dim=-1)[:, range(len(written)), written]
    drops = likelihoods[0] - likelihoods[1:]  # (source words, T)
    by_word = [drops[:, word.start : word.stop].sum(dim=1) for word in translation.words]
    return torch.stack(by_word).cpu().numpy()


def score_alignments(translations: Sequence[Translation]) -> dict[Heads | str, float]:
    """By how much a word's log-probability falls without the source word that an alignment names
    first, the mean over all words: for each of `list_heads`, for a source word at random, for the
    one at the same place in the sentence (the diagonal), and for the one that matters most."""
    drops_by_way: dict[Heads | str, list[NDArray[np.float32]]] = defaultdict(list)
    for translation in translations:
        if len(translation.source_words) < 2 or not translation.words:
            continue  # nothing to choose from
        drops = measure_drops(translation)
        rows, (num_words, num_sources) = np.arange(len(drops)), drops.shape
        same_place = np.rint(rows * (num_sources - 1) / max(num_words - 1, 1)).astype(int)
        drops_by_way[RANDOM].append(drops.mean(axis=1))
        drops_by_way[DIAGONAL].append(drops[rows, same_place])
        drops_by_way[HIGHEST].append(drops.max(axis=1))
        for heads in list_heads(translation.network):
            named = choose_heads(translation.head_weights, *heads).argmax(axis=1)
            drops_by_way[heads].append(drops[rows, named])
    return {way: float(np.concatenate(drops).mean()) for way, drops in drops_by_way.items()}
