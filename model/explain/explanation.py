"""Replay a finished sentence to see where each of its words looked, and what the photo gave it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from model.errors import OptionError
from model.explain.methods import (
    ALIKE,
    DEFAULT_METHOD,
    METHODS,
    CrossAttention,
    check_method,
    heatmap,
    rollout_matrix,
    spread,
)
from model.network.attention import KeyValues
from model.network.decoder import DecoderOutput, TokenTree
from model.search.caption import Caption, CaptionWord, with_probabilities
from model.search.generation import select

if TYPE_CHECKING:
    from model.captioner import Captioner

HARDLY = math.log(1.25)  # nats; a word that gains less than this from the photo hardly needs it
SAME_FOR_ALL = "The maps hardly depend on the word: they show one place for all of them."
AT_ONCE = 16  # photos with holes that are encoded together


@dataclass(frozen=True)
class Explanation:
    """A caption with where each of its words looked.

    Attributes:
        text, words, log_probability: as in `Caption`.
        attention: one row a token of the caption, the end token last.
        gains: nats that each word's log-probability gains from the photo, over a plain grey one
            (the mean colour of the encoder's training photos) after the same words.
    """

    text: str
    words: list[CaptionWord]
    log_probability: float
    attention: CrossAttention
    gains: list[float]

    def heatmap(self, word: int, method: str | None = None, **choices: Any) -> np.ndarray:
        """The map of one word: (rows, cols) float32, >= 0. See `attention_maps.heatmap`."""
        if not -len(self.words) <= word < len(self.words):
            raise IndexError(f"word {word} of {len(self.words)}: {self.text!r}")
        chosen = self.words[word]
        return heatmap(
            self.attention, (chosen.start, chosen.stop), method or DEFAULT_METHOD, **choices
        )

    def heatmaps(self, method: str | None = None, **choices: Any) -> list[np.ndarray]:
        """The map of every word."""
        return [self.heatmap(i, method, **choices) for i in range(len(self.words))]

    def doubts(self, maps: Sequence[np.ndarray]) -> list[str]:
        """Why maps should not be read as reasons, in plain sentences; [] where nothing is amiss.

        maps: of all words, from `heatmaps`.
        """
        sentences = [same_for_all(maps), *(self.needless(i) for i in range(len(self.words)))]
        return [sentence for sentence in sentences if sentence]

    def needless(self, word: int) -> str | None:
        """The sentence for a word that would have been as likely without the photo, or None."""
        if self.gains[word] >= HARDLY:
            return None
        chosen = self.words[word]
        blind = min(1.0, chosen.probability * math.exp(-self.gains[word]))
        return (
            f"“{chosen.text}” hardly needs the photo: {chosen.probability:.0%} likely with it, "
            f"{blind:.0%} without."
        )


def same_for_all(maps: Sequence[np.ndarray]) -> str | None:
    """The sentence for maps of several words that are all alike, or None."""
    return SAME_FOR_ALL if len(maps) > 1 and spread(maps) < ALIKE else None


def explain(
    captioner: Captioner,
    image: Any,
    caption: Caption | str,
    methods: Sequence[str],
    on_step: Callable[[], object],
) -> Explanation:
    """See `Captioner.explain`."""
    methods = [methods] if isinstance(methods, str) else methods
    chosen = [METHODS[check_method(name)] for name in methods]
    needs = {method.needs for method in chosen}
    tokens, words = read_sentence(captioner, caption)
    if captioner.is_features(image):
        if missing := {method.needs for method in chosen if method.needs_photo}:
            raise OptionError(f"{' and '.join(sorted(missing))} need the photo, not its features")
        pixels, features = None, image[None]
    else:
        pixels = captioner.pixel_values([image])
        features = None
    rollout = occlusion = None
    with torch.inference_mode():
        if "rollout" in needs:
            features, layers = captioner.encoder.with_attention(pixels)
            rollout = rollout_matrix([layer[0].float().cpu().numpy() for layer in layers])
        elif features is None:
            features = captioner.encoder(pixels)
    on_step()
    # both methods with "rollout" need it, one of them the gradients too
    replay = _replay_with_gradients if needs & {"gradients", "rollout"} else _replay
    log_probabilities, blind, weights, gradients = replay(captioner, features, tokens)
    if "occlusion" in needs:
        occlusion = _occlusion(captioner, pixels, tokens, log_probabilities, on_step)
    gained = (log_probabilities - blind).tolist()
    return Explanation(
        text=" ".join(word.text for word in words),
        words=with_probabilities(words, log_probabilities.tolist()),
        log_probability=float(log_probabilities.sum()),
        attention=CrossAttention(
            weights=weights,
            grid_size=captioner.encoder.grid_size,
            num_prefix_tokens=captioner.encoder.num_prefix_tokens,
            gradients=gradients,
            rollout=rollout,
            occlusion=occlusion,
        ),
        gains=[sum(gained[word.start : word.stop]) for word in words],
    )


def read_sentence(captioner: Captioner, caption: Caption | str) -> tuple[list[int], list]:
    """Tokens with the end token, and words."""
    if isinstance(caption, str):
        tokens, words = captioner.tokenizer.encode(caption)
        tokens = [*tokens, captioner.tokenizer.end]
    elif isinstance(caption, Caption):
        tokens, words = list(caption.tokens), caption.words
        if max(tokens, default=0) >= captioner.config.vocab_size:
            raise OptionError("a caption of another captioner; give its text")
    else:
        raise OptionError(f"a caption or a sentence is due, not {type(caption).__name__}")
    if not words:
        raise OptionError("there is no word to explain; give a sentence")
    longest = captioner.config.max_length
    if len(tokens) > longest:
        raise OptionError(
            f"the sentence has {len(tokens) - 1} tokens; this captioner reads at most {longest - 1}"
        )
    return tokens, words


@torch.inference_mode()
def token_log_probabilities(captioner: Captioner, features: Tensor, tokens: list[int]) -> Tensor:
    """log p of each token after those before it: (B, tokens), for image features (B, S, width)."""
    return read(captioner, features, tokens)[0]


def read(
    captioner: Captioner, features: Tensor, tokens: list[int], need_weights: bool = False
) -> tuple[Tensor, DecoderOutput]:
    """As `token_log_probabilities`, and the output of the decoder's one pass, whose cache holds the
    sentence."""
    cache = captioner.decoder.look_at(features)
    inputs = _inputs(captioner, tokens).expand(len(features), -1)
    output = captioner.decoder(inputs, cache, need_weights)
    return _of_tokens(output, tokens), output


def _inputs(captioner: Captioner, tokens: list[int]) -> Tensor:
    """What is read for each token to be predicted: (1, tokens)."""
    return torch.tensor([[captioner.tokenizer.start, *tokens[:-1]]], device=captioner.device)


def _of_tokens(output: DecoderOutput, tokens: list[int]) -> Tensor:
    """The log-probabilities (rows, tokens) that each row gives these tokens."""
    rated = output.logits.float().log_softmax(-1)
    chosen = torch.tensor(tokens, device=rated.device).expand(len(rated), -1)
    return rated.gather(2, chosen[..., None])[..., 0]


class _Replay(NamedTuple):
    """What a finished sentence shows: every token is predicted from those before it.

    The row of `weights` at input position t chose token t + 1; it is filed under that one.

    Attributes:
        log_probabilities, blind: of each token, with the photo and with a plain grey one.
        weights: (layers, heads, tokens, S).
        gradients: as `weights`, of each token's own log-probability, or None.
    """

    log_probabilities: Tensor
    blind: Tensor
    weights: np.ndarray
    gradients: np.ndarray | None = None


@torch.inference_mode()
def _replay(captioner: Captioner, features: Tensor, tokens: list[int]) -> _Replay:
    both = torch.cat([features, captioner.encoder.grey_features()])
    rated, output = read(captioner, both, tokens, need_weights=True)
    return _Replay(*rated, _stacked([layer[:1] for layer in output.cross_attn_weights]))


@torch.inference_mode(False)
def _replay_with_gradients(captioner: Captioner, features: Tensor, tokens: list[int]) -> _Replay:
    """The sentence is read twice: the second time each token sees the others as they were read the
    first time. So no token's log-probability flows back, through self-attention, into the
    attention of another, and one pass gives each its own gradient."""
    both = torch.cat([features, captioner.encoder.grey_features()])
    with torch.no_grad():
        rated, output = read(captioner, both, tokens)
    cache = tuple(
        layer._replace(cross_attn=KeyValues(keys.requires_grad_(), values))
        for layer in select(output.cache, [0], [0])
        for keys, values in [layer.cross_attn]
    )
    with torch.enable_grad():
        positions = torch.arange(len(tokens), device=captioner.device)
        tree = TokenTree.branches(positions, cached=len(tokens))
        output = captioner.decoder(_inputs(captioner, tokens), cache, need_weights=True, tree=tree)
        own = _of_tokens(output, tokens)
        gradients = torch.autograd.grad(own.sum(), output.cross_attn_weights)
    return _Replay(*rated, _stacked(output.cross_attn_weights), _stacked(gradients))


def _stacked(layers: Sequence[Tensor]) -> np.ndarray:
    """layers × (1, heads, tokens, S) -> (layers, heads, tokens, S)"""
    return torch.cat([layer.detach() for layer in layers]).float().cpu().numpy()


@torch.inference_mode()
def _occlusion(
    captioner: Captioner,
    pixels: Tensor,
    tokens: list[int],
    whole: Tensor,
    on_step: Callable[[], object],
) -> np.ndarray:
    """The mean fall of each token's log-probability over the windows that hide a patch.

    Square windows of a quarter of the shorter side, half a window apart: (tokens, rows, cols).
    """
    rows, cols = captioner.encoder.grid_size
    side = max(1, min(rows, cols) // 4)

    def places(length: int) -> list[int]:
        return sorted({*range(0, length - side, max(1, side // 2)), length - side})

    windows = [(top, left) for top in places(rows) for left in places(cols)]
    hidden = np.zeros((len(windows), rows, cols), dtype=bool)
    for mask, (top, left) in zip(hidden, windows, strict=True):
        mask[top : top + side, left : left + side] = True
    seen = torch.from_numpy(np.stack([np.flatnonzero(~mask) for mask in hidden]))
    falls = []
    for some in seen.to(pixels.device).split(AT_ONCE):
        features = captioner.encoder(pixels.expand(len(some), -1, -1, -1), some)
        falls.append(whole - token_log_probabilities(captioner, features, tokens))
        on_step()
    fall = torch.cat(falls).cpu().numpy()  # (windows, tokens)
    total = np.einsum("wt,wij->tij", fall, hidden)
    return (total / hidden.sum(axis=0)).astype(np.float32)
