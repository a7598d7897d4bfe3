"""The class of translations: sentences in, sentences with probabilities and alignment out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.checkpoint.hub import SHIPPED
from model.errors import CheckpointError, OptionError
from model.network.tokenizer import Word, as_sentence
from model.search.caption import Caption
from model.search.generation import choose_options, generate, to_caption
from model.search.options import DecodingOptions
from model.translation.alignment import choose_heads, weigh_words
from model.translation.checkpoint import read_translator, write_translator
from model.translation.network import TranslatorNetwork

BATCH_SIZE = 64  # sentences
SHIPPED_TRANSLATOR = SHIPPED.parent / "translator"


@dataclass(frozen=True)
class Translation(Caption):
    """A translation: a caption (text, words, probabilities) with the sentence that it is of.

    Attributes:
        source: the sentence as the network read it; source_words: its words.
        language: the code of the translation's language.
        network: what wrote it, and replays it for the alignment.
    """

    source: str
    source_words: list[Word]
    language: str
    network: TranslatorNetwork = field(repr=False, compare=False)

    @cached_property
    def head_weights(self) -> NDArray[np.float32]:
        """How much each word of the translation looked at each word of the source, in each head of
        each layer; see `weigh_words`."""
        source, _ = self.network.tokenizer.encode(self.source)
        start = self.network.tokenizer.starts[self.language]
        return weigh_words(self.network, source, self.source_words, start, self.tokens, self.words)

    @property
    def alignment(self) -> NDArray[np.float32]:
        """How much each word of the translation looked at each word of the source, in the layer and
        head that the translator's config names: (target words, source words), rows sum to one."""
        config = self.network.config
        return choose_heads(self.head_weights, config.alignment_layer, config.alignment_head)

    @property
    def is_unfamiliar(self) -> bool:
        """Whether the source is unlike the sentences that the translator learned from: it finds its
        own translation less likely than its config says it usually does; see `TranslatorConfig`.
        Of a translation with the translator's own options; false where the config does not say."""
        threshold = self.network.config.unfamiliar_below.get(self.language)
        return threshold is not None and self.log_probability / len(self.tokens) < threshold


class Translator:
    """Translates captions into the languages of its network.

    network: as `checkpoint.read_translator` gives it.
    """

    def __init__(self, network: TranslatorNetwork):
        self.network = network

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "Translator":
        """Read a folder as `save_pretrained` writes it; raises CheckpointError."""
        return cls(read_translator(Path(folder)))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the translator, in half precision, into a folder."""
        write_translator(self.network, Path(folder))

    @property
    def languages(self) -> list[str]:
        """The codes of the languages that it writes."""
        return self.network.tokenizer.languages

    def translate(self, sentence: str, language: str, **options: object) -> Translation:
        """Translate a sentence.

        language: one of `languages`. options: see `DecodingOptions`.

        Raises OptionError for an empty sentence, one that is too long, an unknown language, and
        options that cannot be used.
        """
        return self.translate_all([sentence], language, **options)[0]

    def translate_all(
        self, sentences: Sequence[str], language: str, **options: object
    ) -> list[Translation]:
        """The translations of several sentences, in their order; see `translate`."""
        for sentence in sentences:
            self.read_sentence(sentence)  # a mistake in the last is told before work on the first
        translations: list[Translation] = []
        for first in range(0, len(sentences), BATCH_SIZE):
            batch = sentences[first : first + BATCH_SIZE]
            for growing in self._search(batch, language, **options):  # noqa: B007
                pass
            translations += growing
        return translations

    def translate_readable(
        self, sentences: Sequence[str], language: str, **options: object
    ) -> list[Translation | OptionError]:
        """As `translate_all`, but a sentence that cannot be translated is its own result: the
        error."""
        errors: dict[int, OptionError] = {}
        for i, sentence in enumerate(sentences):
            try:
                self.read_sentence(sentence)
            except OptionError as error:
                errors[i] = error
        readable = [sentence for i, sentence in enumerate(sentences) if i not in errors]
        translations = iter(self.translate_all(readable, language, **options))
        return [errors.get(i) or next(translations) for i in range(len(sentences))]

    def stream(self, sentence: str, language: str, **options: object) -> Iterator[Translation]:
        """The leading translation after every step of the search, the last being the result."""
        return (growing for (growing,) in self._search([sentence], language, **options))

    def read_sentence(self, sentence: str) -> tuple[str, list[int], list[Word]]:
        """A sentence as training had them ("a dog runs" is "A dog runs."), its tokens and words.

        Raises OptionError for what cannot be translated.
        """
        if not isinstance(sentence, str):
            raise OptionError(f"a sentence is due, not {type(sentence).__name__}")
        text = as_sentence(sentence)
        if not text.strip(".!? "):
            raise OptionError("the sentence is empty; give some words")
        tokens, words = self.network.tokenizer.encode(text)
        most = self.network.config.max_length - 1  # the end token comes after
        if len(tokens) > most:
            raise OptionError(
                f"the sentence has {len(tokens):,} tokens, more than this translator's {most}; "
                "give a sentence at a time"
            )
        return text, tokens, words

    def check_language(self, language: str) -> None:
        """Raises OptionError for a language that this translator does not write."""
        if language not in self.languages:
            raise OptionError(
                f"no language {language!r}; this translator writes {', '.join(self.languages)}"
            )

    def choose_options(self, **values: object) -> DecodingOptions:
        """The translator's own decoding options, changed as given; raises OptionError."""
        config = self.network.config
        # not the 40 tokens of a caption: a sentence may be long
        usual = {"max_length": config.max_length - 1, **config.decoding}
        return choose_options(config, **{**usual, **values})

    def _search(
        self, sentences: Sequence[str], language: str, **options: object
    ) -> Iterator[list[Translation]]:
        network = self.network
        self.check_language(language)
        texts = [self.read_sentence(sentence) for sentence in sentences]
        chosen = self.choose_options(**options)
        with torch.inference_mode():
            cache = network.read_sentences([tokens for _, tokens, _ in texts])
        tokenizer = network.tokenizer
        start = tokenizer.starts[language]
        for ranked in generate(network.decoder, cache, start, [tokenizer.end], chosen):
            if not all(ranked):
                raise CheckpointError("no translation is found: the model's numbers are not finite")
            captions = [to_caption(hypotheses[0], tokenizer) for hypotheses in ranked]
            yield [
                _make_translation(caption, text, words, language, network)
                for caption, (text, _, words) in zip(captions, texts, strict=True)
            ]


def _make_translation(
    caption: Caption, text: str, words: list[Word], language: str, network: TranslatorNetwork
) -> Translation:
    return Translation(
        text=caption.text,
        words=caption.words,
        log_probability=caption.log_probability,
        tokens=caption.tokens,
        source=text,
        source_words=words,
        language=language,
        network=network,
    )


def load_translator(folder: str | Path | None = None) -> Translator:
    """The translator in a folder, or the one that came with CaptionLens.

    Raises CheckpointError, in one line, for what is no translator or does not fit.
    """
    if folder is None and not SHIPPED_TRANSLATOR.is_dir():
        raise CheckpointError(
            "CaptionLens comes with no translator yet; train one (docs/training.md, Translators) "
            "and give its folder"
        )
    return Translator.from_pretrained(SHIPPED_TRANSLATOR if folder is None else folder)
