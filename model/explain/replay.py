"""Read a finished sentence once more, to see what each of its tokens looked at and how likely it
was: with the photo, with a plain grey one, and with parts of the photo hidden."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.errors import OptionError
from model.explain.methods import compute_rollout
from model.network.attention import KeyValues
from model.network.decoder import DecoderOutput, TokenTree
from model.network.network import EncodedPhoto, Network
from model.network.tokenizer import Word
from model.search.caption import Caption, CaptionWord

BATCH_SIZE = 16  # photos with hidden patches that are encoded together


class Replay(NamedTuple):
    """What a finished sentence shows: every token is predicted from those before it.

    The row of `weights` at input position t chose token t + 1; it is filed under that one.

    Attributes:
        log_probabilities: (tokens,) of each token, with the photo.
        grey_log_probabilities: (tokens,) of each token, with a plain grey photo and the same
            memory.
        weights: (layers, heads, tokens, S), the cross-attention weights.
        text_weights: (layers, heads, tokens, tokens), the self-attention weights, or None where the
            decoder does not give them. Column 0 is the start token, column k + 1 is token k.
        gradients: as `weights`, of each token's own log-probability, or None.
    """

    log_probabilities: Tensor
    grey_log_probabilities: Tensor
    weights: NDArray[Any]
    text_weights: NDArray[Any] | None
    gradients: NDArray[Any] | None = None


def tokenize_sentence(
    network: Network, caption: Caption | str
) -> tuple[list[int], Sequence[Word | CaptionWord]]:
    """The tokens of a caption or a sentence, and its words. A sentence gets an end token.

    Raises OptionError for a sentence without words or with too many tokens, and for a caption
    whose tokens are not in this network's vocabulary.
    """
    words: Sequence[Word | CaptionWord]
    if isinstance(caption, str):
        tokens, words = network.tokenizer.encode(caption)
        tokens = [*tokens, network.tokenizer.end]
    elif isinstance(caption, Caption):
        tokens, words = list(caption.tokens), caption.words
        if max(tokens, default=0) >= network.config.vocab_size:
            raise OptionError("a caption of another captioner; give its text")
    else:
        raise OptionError(f"a caption or a sentence is due, not {type(caption).__name__}")
    if not words:
        raise OptionError("there is no word to explain; give a sentence")
    max_length = network.config.max_length
    if len(tokens) > max_length:
        raise OptionError(
            f"the sentence has {len(tokens) - 1} tokens; "
            f"this captioner reads at most {max_length - 1}"
        )
    return tokens, words


@torch.inference_mode()
def score_tokens(network: Network, image_features: Tensor, tokens: list[int]) -> Tensor:
    """The log-probability of each token after those before it: (B, tokens).

    image_features: (B, S, image_width), with what is remembered behind them, if anything.
    """
    return read_sentence(network, image_features, tokens)[0]


def read_sentence(
    network: Network, image_features: Tensor, tokens: list[int], need_weights: bool = False
) -> tuple[Tensor, DecoderOutput]:
    """As `score_tokens`, with the output of the decoder's one pass, whose cache holds the
    sentence."""
    cache = network.decoder.look_at(image_features)
    inputs = _make_decoder_inputs(network, tokens).expand(len(image_features), -1)
    output = network.decoder(inputs, cache, need_weights)
    return _gather_log_probabilities(output, tokens), output


@torch.inference_mode()
def replay(network: Network, photo: EncodedPhoto, tokens: list[int]) -> Replay:
    """Read the sentence with the weights kept."""
    both = _stack_with_grey(network, photo)
    log_probabilities, output = read_sentence(network, both, tokens, need_weights=True)
    with_photo, with_grey = log_probabilities
    weights = _stack([layer[:1] for layer in output.cross_attn_weights or ()])
    return Replay(with_photo, with_grey, weights, _stack_text_weights(output))


@torch.inference_mode(False)
def replay_with_gradients(network: Network, photo: EncodedPhoto, tokens: list[int]) -> Replay:
    """As `replay`, with the gradient of each token's log-probability.

    The sentence is read twice: the second time each token sees the others as they were read the
    first time. So no token's log-probability flows back, through self-attention, into the
    attention of another, and one pass gives each its own gradient.
    """
    both = _stack_with_grey(network, photo)
    with torch.no_grad():
        log_probabilities, first_pass = read_sentence(network, both, tokens, need_weights=True)
    cache = first_pass.cache.select([0], [0])
    cache = cache.replace_images(
        [
            KeyValues(layer.cross_attn.keys.requires_grad_(), layer.cross_attn.values)
            for layer in cache.layers
        ]
    )
    with torch.enable_grad():
        positions = torch.arange(len(tokens), device=network.device)
        tree = TokenTree.branches(positions, cached=len(tokens))
        inputs = _make_decoder_inputs(network, tokens)
        output = network.decoder(inputs, cache, need_weights=True, tree=tree)
        total = _gather_log_probabilities(output, tokens).sum()
        weights = output.cross_attn_weights or ()
        gradients = torch.autograd.grad(total, weights)
    with_photo, with_grey = log_probabilities
    text_weights = _stack_text_weights(first_pass)
    return Replay(with_photo, with_grey, _stack(weights), text_weights, _stack(gradients))


@torch.inference_mode()
def score_visible_patches(
    network: Network,
    photo: EncodedPhoto,
    visible_patches: Tensor,
    tokens: list[int],
    on_step: Callable[[], object] = lambda: None,
) -> Tensor:
    """The log-probability of each token when only some patches of a photo are seen.

    Args:
        visible_patches: (variants, n) indices of the patches that are seen.
        on_step: called after every pass of the encoder.

    Returns:
        (variants, tokens), on the CPU.
    """
    batches = []
    for visible in visible_patches.to(network.device).split(BATCH_SIZE):
        pixels = photo.pixel_values.expand(len(visible), -1, -1, -1)
        contexts = photo.add_memory(network.encoder(pixels, visible))
        batches.append(score_tokens(network, contexts, tokens).cpu())
        on_step()
    return torch.cat(batches)


@torch.inference_mode()
def measure_rollout(network: Network, photo: EncodedPhoto) -> NDArray[Any]:
    """How much of each input token is in each of the encoder's output tokens: (S, S).

    Raises OptionError for an encoder that cannot be rolled out.
    """
    _, layers = network.encoder.with_attention(photo.pixel_values[None])
    return compute_rollout([layer[0].float().cpu().numpy() for layer in layers])


def measure_occlusion(
    network: Network,
    photo: EncodedPhoto,
    tokens: list[int],
    log_probabilities: Tensor,
    on_step: Callable[[], object],
) -> NDArray[Any]:
    """The mean fall of each token's log-probability over the windows that hide a patch.

    Square windows of a quarter of the shorter side, half a window apart: (tokens, rows, cols).

    log_probabilities: (tokens,) with the whole photo.
    """
    rows, cols = network.encoder.grid_size
    side = max(1, min(rows, cols) // 4)

    def list_window_starts(length: int) -> list[int]:
        return sorted({*range(0, length - side, max(1, side // 2)), length - side})

    corners = [(top, left) for top in list_window_starts(rows) for left in list_window_starts(cols)]
    hidden = np.zeros((len(corners), rows, cols), dtype=bool)
    for mask, (top, left) in zip(hidden, corners, strict=True):
        mask[top : top + side, left : left + side] = True
    visible = torch.from_numpy(np.stack([np.flatnonzero(~mask) for mask in hidden]))
    scores = score_visible_patches(network, photo, visible, tokens, on_step)
    falls = (log_probabilities.cpu() - scores).numpy()  # (windows, tokens)
    total = np.einsum("wt,wij->tij", falls, hidden)
    return (total / hidden.sum(axis=0)).astype(np.float32)


def _stack_with_grey(network: Network, photo: EncodedPhoto) -> Tensor:
    """What the decoder looks at with the photo, and with a plain grey one: (2, S, image_width)."""
    return torch.stack([photo.context, photo.add_memory(network.encoder.grey_features()[0])])


def _make_decoder_inputs(network: Network, tokens: list[int]) -> Tensor:
    """What is read for each token to be predicted: (1, tokens)."""
    return torch.tensor([[network.tokenizer.start, *tokens[:-1]]], device=network.device)


def _gather_log_probabilities(output: DecoderOutput, tokens: list[int]) -> Tensor:
    """The log-probabilities (rows, tokens) that each row gives these tokens."""
    log_probabilities = output.logits.float().log_softmax(-1)
    ids = torch.tensor(tokens, device=log_probabilities.device)
    return log_probabilities.gather(2, ids.expand(len(log_probabilities), -1)[..., None])[..., 0]


def _stack_text_weights(output: DecoderOutput) -> NDArray[Any] | None:
    """The self-attention weights of the first row, that with the photo."""
    layers = output.self_attn_weights
    return None if layers is None else _stack([layer[:1] for layer in layers])


def _stack(layers: Sequence[Tensor]) -> NDArray[Any]:
    """layers × (1, heads, tokens, S) -> (layers, heads, tokens, S)"""
    return torch.cat([layer.detach() for layer in layers]).float().cpu().numpy()
