"""Where each word of a caption looked, and what the photo gave it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from model.explain.methods import (
    DEFAULT_METHOD,
    MIN_SPREAD,
    CrossAttention,
    Requirement,
    Selection,
    compute_heatmap,
    compute_spread,
    get_method,
    rate_memory,
)
from model.explain.replay import (
    measure_occlusion,
    measure_rollout,
    replay,
    replay_with_gradients,
    tokenize_sentence,
)
from model.network.memory_encoder import RememberedCaption
from model.network.network import EncodedPhoto, Network
from model.search.caption import Caption, CaptionWord, add_probabilities
from model.wording import ALIKE_MAPS, describe_unneeded_photo

MIN_GAIN = math.log(1.25)  # nats; a word that gains less from the photo hardly needs it


@dataclass(frozen=True)
class Explanation:
    """A caption with where each of its words looked.

    Attributes:
        caption: the caption, or the sentence as a caption of this network.
        attention: one row a token of the caption, the end token last.
        gains: nats that each word's log-probability gains from the photo, over a plain grey one
            (the mean colour of the encoder's training photos) after the same words.
        remembered: captions of similar photos that the words could look at too.
        text_weights: (layers, heads, tokens, tokens), the self-attention that chose each token:
            column 0 is the start token, column k + 1 is token k. Rows sum to one. None for
            captioners that do not give it: those that hold the photo in their prompt.
    """

    caption: Caption
    attention: CrossAttention
    gains: tuple[float, ...]
    remembered: tuple[RememberedCaption, ...] = ()
    text_weights: NDArray[Any] | None = None

    @property
    def text(self) -> str:
        return self.caption.text

    @property
    def words(self) -> list[CaptionWord]:
        return self.caption.words

    @property
    def log_probability(self) -> float:
        return self.caption.log_probability

    def heatmap(
        self,
        word: int,
        method: str = DEFAULT_METHOD,
        *,
        layer: Selection = None,
        head: Selection = None,
        mask_sinks: bool = False,
    ) -> NDArray[Any]:
        """The map of one word: (rows, cols) float32, >= 0. See `methods.compute_heatmap`."""
        return compute_heatmap(
            self.attention,
            self._find_span(word),
            method,
            layer=layer,
            head=head,
            mask_sinks=mask_sinks,
        )

    def earlier_words(self, word: int) -> list[float] | None:
        """How much of a word's self-attention fell on each word before it, the mean over layers,
        heads and the word's tokens. The rest, to 1, fell on the start token and on the word's own
        beginning. None where `text_weights` is."""
        start, stop = self._find_span(word)
        if self.text_weights is None:
            return None
        by_token = self.text_weights[:, :, start:stop].mean(axis=(0, 1, 2))[1:]
        earlier = self.words[: word % len(self.words)]
        return [float(by_token[other.start : other.stop].sum()) for other in earlier]

    def memory_share(self, word: int) -> float:
        """How much of a word's attention fell on remembered captions, 0 to 1."""
        return float(rate_memory(self.attention, self._find_span(word)).sum())

    def memory_weights(self, word: int) -> list[list[float]]:
        """For each remembered caption, how much of a word's attention fell on each of its words."""
        weights = rate_memory(self.attention, self._find_span(word))
        by_caption, begin = [], 0
        for caption in self.remembered:
            spans = [(begin + other.start, begin + other.stop) for other in caption.words]
            by_caption.append([float(weights[start:stop].sum()) for start, stop in spans])
            begin += len(caption.tokens)
        return by_caption

    def _find_span(self, word: int) -> tuple[int, int]:
        """The tokens of a word; raises IndexError where there is none."""
        if not -len(self.words) <= word < len(self.words):
            raise IndexError(f"word {word} of {len(self.words)}: {self.text!r}")
        _, _, start, stop = self.words[word]
        return start, stop

    def heatmaps(
        self,
        method: str = DEFAULT_METHOD,
        *,
        layer: Selection = None,
        head: Selection = None,
        mask_sinks: bool = False,
    ) -> list[NDArray[Any]]:
        """The map of every word."""
        return [
            self.heatmap(i, method, layer=layer, head=head, mask_sinks=mask_sinks)
            for i in range(len(self.words))
        ]

    def doubts(self, maps: Sequence[NDArray[Any]]) -> list[str]:
        """Why maps should not be read as reasons, in plain sentences; [] where nothing is amiss.

        maps: of all words, from `heatmaps`.
        """
        notes = [self.describe_unneeded_photo(i) for i in range(len(self.words))]
        return [note for note in (describe_alike_maps(maps), *notes) if note]

    def describe_unneeded_photo(self, word: int) -> str | None:
        """The sentence for a word that would have been as likely without the photo, or None."""
        if self.gains[word] >= MIN_GAIN:
            return None
        text, probability, _, _ = self.words[word]
        without_photo = min(1.0, probability * math.exp(-self.gains[word]))
        return describe_unneeded_photo(text, probability, without_photo)


def describe_alike_maps(maps: Sequence[NDArray[Any]]) -> str | None:
    """The sentence for maps of several words that are all alike, or None."""
    return ALIKE_MAPS if len(maps) > 1 and compute_spread(maps) < MIN_SPREAD else None


def explain(
    network: Network,
    photo: EncodedPhoto,
    caption: Caption | str,
    methods: Sequence[str],
    on_step: Callable[[], object] = lambda: None,
) -> Explanation:
    """Replay a caption, or any sentence, and record what the methods need.

    Args:
        methods: names of `METHODS`.
        on_step: called after every pass of the encoder; what it raises ends the work.

    Raises OptionError for an unknown method, and as `tokenize_sentence` does.
    """
    names = [methods] if isinstance(methods, str) else methods
    requirements = {needed for name in names for needed in get_method(name).requires}
    tokens, words = tokenize_sentence(network, caption)
    on_step()  # the photo has just been encoded
    rollout = occlusion = None
    if Requirement.ROLLOUT in requirements:
        rollout = measure_rollout(network, photo)
        on_step()
    needs_gradients = Requirement.GRADIENTS in requirements
    replayed = (replay_with_gradients if needs_gradients else replay)(network, photo, tokens)
    log_probabilities = replayed.log_probabilities
    if Requirement.OCCLUSION in requirements:
        occlusion = measure_occlusion(network, photo, tokens, log_probabilities, on_step)
    token_gains = (log_probabilities - replayed.grey_log_probabilities).tolist()
    return Explanation(
        caption=Caption(
            text=" ".join(word.text for word in words),
            words=add_probabilities(words, log_probabilities.tolist()),
            log_probability=float(log_probabilities.sum()),
            tokens=tuple(tokens),
        ),
        attention=CrossAttention(
            weights=replayed.weights,
            grid_size=network.encoder.grid_size,
            num_prefix_tokens=network.encoder.num_prefix_tokens,
            gradients=replayed.gradients,
            rollout=rollout,
            occlusion=occlusion,
            num_memory_tokens=sum(len(caption.tokens) for caption in photo.remembered),
        ),
        gains=tuple(sum(token_gains[word.start : word.stop]) for word in words),
        remembered=photo.remembered,
        text_weights=replayed.text_weights,
    )
