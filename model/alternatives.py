"""What the model would have written instead: the runners-up to each word of a caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from model.caption import Caption
from model.explanation import read_sentence

if TYPE_CHECKING:
    from model.captioner import Captioner

LONGEST = 8  # tokens of a runner-up


class Alternative(NamedTuple):
    """A word that could have stood there; the empty text stands for the end of the caption."""

    text: str
    probability: float


@torch.inference_mode()
def alternatives(
    captioner: Captioner, image_features: Tensor, caption: Caption | str, count: int
) -> list[list[Alternative]]:
    """See `Captioner.alternatives`. image_features: (S, image_width)."""
    tokenizer = captioner.tokenizer
    cache = captioner.decoder.look_at(image_features[None])

    def rate(rows: Sequence[Sequence[int]]) -> Tensor:
        """Logits (rows, T, vocab_size) of what follows each token; shorter rows are padded."""
        longest = max(len(row) for row in rows)
        padded = [[*row, *[tokenizer.end] * (longest - len(row))] for row in rows]
        ids = torch.tensor(padded, device=captioner.device)
        return captioner.decoder(ids, cache).logits

    said, words = read_sentence(captioner, caption)
    tokens = [tokenizer.start, *said]
    rated = rate([tokens[:-1]])[0].float().log_softmax(-1)

    def may_stand(token: int, place: int) -> bool:
        if place:
            return tokenizer.follows_a_word(token)
        return token not in (tokenizer.start, tokenizer.end)

    # One entry a runner-up: (word, its tokens, log p). It is grown, likeliest piece first, until
    # the next piece would begin another word.
    open_, done = [], []
    for place, word in enumerate(words):
        best = rated[word.start].topk(min(4 * count, rated.shape[1]))
        found = [
            (place, [token], value)
            for value, token in zip(best.values.tolist(), best.indices.tolist(), strict=True)
            if token != said[word.start] and may_stand(token, place)
        ][:count]
        for entry in found:
            (done if entry[1] == [tokenizer.end] else open_).append(entry)
    while open_:
        rows = [[*tokens[: words[i].start + 1], *pieces] for i, pieces, _ in open_]
        following = rate(rows)[range(len(rows)), [len(row) - 1 for row in rows]]
        values, indices = following.float().log_softmax(-1).max(-1)
        still = []
        for (i, pieces, so_far), row, value, token in zip(
            open_, rows, values.tolist(), indices.tolist(), strict=True
        ):
            full = len(pieces) == LONGEST or len(row) == captioner.config.max_length
            if full or tokenizer.follows_a_word(token):
                done.append((i, pieces, so_far))
            else:
                still.append((i, [*pieces, token], so_far + value))
        open_ = still
    listed: list[list[Alternative]] = [[] for _ in words]
    for i, pieces, log_probability in sorted(done, key=lambda entry: -entry[2]):
        ends = pieces == [tokenizer.end]
        text = "" if ends else tokenizer.words(pieces)[0].text
        if text or ends:  # a lone space is no word
            listed[i].append(Alternative(text, float(torch.tensor(log_probability).exp())))
    return listed
