"""Tiny random translators, and a toy language that one learns in seconds."""

import random

import torch

from model.translation.config import TranslatorConfig
from model.translation.network import TranslatorNetwork
from model.translation.tokenizer import TranslatorTokenizer
from model.translation.translator import Translator

SENTENCES = (
    "A brown dog runs through the grass.",
    "Two children play in the red water.",
    "A man in a blue shirt climbs a rock.",
)
# a word of the toy language for each word, in the same order
TOY_WORDS = {
    "a": "un", "two": "dos", "red": "rojo", "blue": "azul", "dog": "perro", "cat": "gato",
    "man": "hombre", "runs": "corre", "sits": "posa", "sees": "mira",
}  # fmt: skip


def tiny_translator(seed: int = 0, **changes) -> Translator:
    """A random translator into the languages xx and yy."""
    torch.manual_seed(seed)
    tokenizer = TranslatorTokenizer.train_for(SENTENCES, 300, ["xx", "yy"])
    settings = {"width": 32, "num_heads": 2, "num_encoder_layers": 2, "num_decoder_layers": 2}
    settings |= {"decoding": {"max_length": 12}}  # what a random one writes does not end
    config = TranslatorConfig(
        vocab_size=tokenizer.vocab_size, **{"max_length": 40, **settings, **changes}
    )
    return Translator(TranslatorNetwork(config, tokenizer).eval())


def tiny_translator_of_words() -> Translator:
    """As `tiny_translator`, writing several words that look at different ones."""
    translator = tiny_translator(max_length=128)
    with torch.no_grad():
        for p in translator.network.parameters():
            if p.dim() == 2:
                p.mul_(6)
        translator.network.decoder.token_embedding.weight[3:259] *= 0.1  # single bytes seldom win
    return translator


def draw_toy_pairs(number: int, seed: int) -> tuple[list[str], list[str]]:
    """Sentences of 3 to 6 different words, and the same with the words in reverse."""
    draw = random.Random(seed)
    sources = [draw.sample(list(TOY_WORDS), draw.randint(3, 6)) for _ in range(number)]
    targets = [[TOY_WORDS[word] for word in reversed(words)] for words in sources]
    return [" ".join(words) for words in sources], [" ".join(words) for words in targets]
