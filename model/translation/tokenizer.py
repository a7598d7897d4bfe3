"""The translator's tokenizer: one byte-level BPE for all of its languages, and for each language
the token that begins a sentence in it."""

import re
from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer

from model.errors import CheckpointError, OptionError
from model.network.tokenizer import END, CaptionTokenizer, train_byte_level_bpe

_LANGUAGE_TOKEN = re.compile(r"<\|([a-z]{2,3})\|>")


class TranslatorTokenizer(CaptionTokenizer):
    """A `tokenizers` tokenizer with an end token, "<|end|>", and one start token for each language,
    such as "<|de|>".

    starts: language code -> id of the token that begins a sentence in it.
    """

    def __init__(self, tokenizer: Tokenizer):
        special = {str(token): i for i, token in tokenizer.get_added_tokens_decoder().items()}
        matches = ((_LANGUAGE_TOKEN.fullmatch(token), i) for token, i in sorted(special.items()))
        self.starts = {match[1]: i for match, i in matches if match and match[0] != END}
        if not self.starts:
            raise CheckpointError("tokenizer.json has no start token of a language, such as <|de|>")
        super().__init__(tokenizer, start=next(iter(self.starts.values())))

    @classmethod
    def train_for(
        cls, sentences: Iterable[str], vocab_size: int, languages: Sequence[str]
    ) -> "TranslatorTokenizer":
        """Learn one vocabulary from sentences of all languages (codes of two or three letters)."""
        starts = [f"<|{language}|>" for language in languages]
        for language, start in zip(languages, starts, strict=True):
            if not _LANGUAGE_TOKEN.fullmatch(start) or start == END:
                raise OptionError(f"a language is a code such as de, not {language!r}")
        return cls(train_byte_level_bpe(sentences, vocab_size, [END, *starts]))

    @property
    def languages(self) -> list[str]:
        """The codes of the languages, in alphabetical order."""
        return list(self.starts)
