"""Replay a finished sentence to see where each of its words looked, and what the photo gave it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from model.attention_maps import (
    ALIKE,
    DEFAULT_METHOD,
    METHODS,
    CrossAttention,
    check_method,
    heatmap,
    rollout_matrix,
    spread,
)
from model.caption import Caption, CaptionWord, with_probabilities

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
    chosen = [METHODS[check_method(name)] for name in methods]
    needs = {method.needs for method in chosen}
    tokens, words = read_sentence(captioner, caption)
    if isinstance(image, Tensor):
        if missing := {method.needs for method in chosen if method.needs_photo}:
            raise ValueError(f"{' and '.join(sorted(missing))} need the photo, not its features")
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
    log_probabilities, weights, gradients = replay(captioner, features, tokens)
    with torch.inference_mode():
        grey = captioner.encoder.grey_features()
        blind = token_log_probabilities(captioner, grey, tokens)[0]
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
    else:
        tokens, words = list(caption.tokens), caption.words
    if not words:
        raise ValueError("there is no word to explain; give a sentence")
    longest = captioner.config.max_length
    if len(tokens) > longest:
        raise ValueError(
            f"the sentence has {len(tokens) - 1} tokens; this captioner reads at most {longest - 1}"
        )
    return tokens, words


def token_log_probabilities(captioner: Captioner, features: Tensor, tokens: list[int]) -> Tensor:
    """log p of each token after those before it: (B, tokens), for image features (B, S, width)."""
    inputs = torch.tensor([captioner.tokenizer.start, *tokens[:-1]], device=captioner.device)
    chosen = torch.tensor(tokens, device=captioner.device)
    cache = captioner.decoder.look_at(features)
    output = captioner.decoder(inputs.expand(len(features), -1), cache)
    rated = output.logits.float().log_softmax(-1)
    return rated.gather(2, chosen.expand(len(features), -1)[..., None])[..., 0]


@torch.inference_mode()
def _replay(
    captioner: Captioner, features: Tensor, tokens: list[int]
) -> tuple[Tensor, np.ndarray, None]:
    """One pass over the sentence: every token is predicted from those before it.

    Returns each token's log-probability and the weights (layers, heads, tokens, S). The row at
    input position t chose token t + 1; it is filed under that one.
    """
    inputs = torch.tensor([[captioner.tokenizer.start, *tokens[:-1]]], device=captioner.device)
    output = captioner.decoder(inputs, captioner.decoder.look_at(features), need_weights=True)
    rated = output.logits[0].float().log_softmax(-1)
    own = rated.gather(1, torch.tensor(tokens, device=captioner.device)[:, None])[:, 0]
    return own, torch.cat(output.cross_attn_weights).float().cpu().numpy(), None


def _replay_with_gradients(
    captioner: Captioner, features: Tensor, tokens: list[int]
) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """As `_replay`, and of each weight the gradient of its own token's log-probability."""
    device = captioner.device
    with torch.inference_mode(False), torch.enable_grad():
        inputs = torch.tensor([captioner.tokenizer.start, *tokens[:-1]], device=device)
        chosen = torch.tensor(tokens, device=device)[:, None]
        # One row a token, so that each token's gradient is its own: in a single row a later
        # token's would flow back, through self-attention, into the weights of the earlier.
        rows = torch.arange(len(tokens), device=device)
        cache = captioner.decoder.look_at(features.clone().requires_grad_())
        output = captioner.decoder(inputs.expand(len(tokens), -1), cache, need_weights=True)
        own = output.logits[rows, rows].float().log_softmax(-1).gather(1, chosen)[:, 0]
        gradients = torch.autograd.grad(own.sum(), output.cross_attn_weights)

    def of_each_token(layers: Sequence[Tensor]) -> np.ndarray:
        # layers × (tokens, heads, tokens, S) -> (layers, heads, tokens, S)
        picked = torch.stack([layer.detach()[rows, :, rows] for layer in layers])
        return picked.transpose(1, 2).float().cpu().numpy()

    return own.detach(), of_each_token(output.cross_attn_weights), of_each_token(gradients)


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
