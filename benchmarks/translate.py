"""What a caption's translation costs: `python -m benchmarks.translate`.

A translator of the size that ships (random weights, as is transformers' Marian beside it, of the
same widths, layers and vocabulary); translations are held to one length.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from transformers import MarianConfig, MarianMTModel
from transformers.utils import logging

from benchmarks.timing import Row, print_rows, time_in_turns
from model.translation import Translator
from model.translation.config import TranslatorConfig
from model.translation.network import TranslatorNetwork
from model.translation.tokenizer import TranslatorTokenizer

WIDTH, LAYERS, HEADS, VOCABULARY = 192, 3, 4, 8000
CAPTION = "A man in a blue shirt is climbing up a rock face."
LENGTH = 16  # tokens of a translation
ROUNDS = 15


def measure() -> Iterator[Row]:
    logging.set_verbosity_error()
    threads = f"{torch.get_num_threads()} threads"
    torch.manual_seed(0)
    tokenizer = TranslatorTokenizer.train_for([CAPTION], 400, ["de"])
    config = TranslatorConfig(
        vocab_size=VOCABULARY,
        width=WIDTH,
        num_heads=HEADS,
        num_encoder_layers=LAYERS,
        num_decoder_layers=LAYERS,
    )
    translator = Translator(TranslatorNetwork(config, tokenizer).eval())
    marian = create_marian(tokenizer.end, tokenizer.starts["de"])
    source = [*tokenizer.encode(CAPTION)[0], tokenizer.end]
    fixed = {"min_length": LENGTH, "max_length": LENGTH}

    def ours(count: int, num_beams: int) -> None:
        translator.translate_all([CAPTION] * count, "de", num_beams=num_beams, **fixed)

    def theirs(count: int, num_beams: int) -> None:
        sources = torch.tensor([source] * count)
        marian.generate(sources, num_beams=num_beams, min_new_tokens=LENGTH, max_new_tokens=LENGTH)

    part = f"a caption's translation of {LENGTH} tokens; {threads}"
    for what, num_beams in (("five beams", 5), ("greedy", 1)):
        for count in (1, 8):
            taken = time_in_turns(
                {
                    "ours": lambda c=count, n=num_beams: ours(c, n),
                    "theirs": lambda c=count, n=num_beams: theirs(c, n),
                },
                ROUNDS,
            )
            name, ratio = f"{what}, {count} at a time", taken["theirs"] / taken["ours"]
            yield Row(
                part, name, count / taken["ours"], "captions/s", ratio, "transformers' Marian"
            )
    translation = translator.translate(CAPTION, "de", **fixed)
    works = {
        "one translation, five beams": lambda: ours(1, 5),
        "its alignment": lambda: replace(translation).alignment,  # which is computed once
    }
    for name, seconds in time_in_turns(works, ROUNDS).items():
        yield Row(part, name, 1e3 * seconds, "ms")


def create_marian(end: int, start: int) -> MarianMTModel:
    """transformers' translator of the same size."""
    config = MarianConfig(
        vocab_size=VOCABULARY,
        d_model=WIDTH,
        encoder_layers=LAYERS,
        decoder_layers=LAYERS,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=4 * WIDTH,
        decoder_ffn_dim=4 * WIDTH,
        max_position_embeddings=128,
        pad_token_id=VOCABULARY - 1,
        eos_token_id=end,
        forced_eos_token_id=None,
        decoder_start_token_id=start,
    )
    return MarianMTModel(config).eval()


if __name__ == "__main__":
    print_rows(measure())
