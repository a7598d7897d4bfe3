"""Between captions and tokens: byte-level BPE, sentences, and the words that tokens form."""

import re
from collections.abc import Iterable, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from model.errors import CheckpointError, OptionError

AnyTokenizer = TypeVar("AnyTokenizer", bound="CaptionTokenizer")
START, END = "<|start|>", "<|end|>"
PUNCTUATION = ".,;:!?"  # belongs to the word before it
MAX_CHARACTERS = 100_000
SPACE = "Ġ"  # how byte-level BPE writes the space that begins a word
LOW_LINE = "▁"  # and how SentencePiece does (Llama, Gemma)
GOES_ON = "##"  # how WordPiece (BERT) writes that a piece does not begin one
JOINS = ("'", "-")  # pieces of their own there, but "man's" and "t-shirt" are one word


class Word(NamedTuple):
    """A word with the tokens [start, stop) that it is made of."""

    text: str
    start: int
    stop: int


def as_sentence(caption: str) -> str:
    """One space between words, none before punctuation, a capital first and a stop at the end.

    Corpora write "a dog runs ." and "a dog runs" alike; the model should learn one of them.
    """
    text = _attach_punctuation(" ".join(caption.split()))
    if text and text[-1] not in ".!?":
        text += "."
    return text[:1].upper() + text[1:]


def _attach_punctuation(text: str) -> str:
    return re.sub(rf"\s+([{PUNCTUATION}]+)(?=\s|$)", r"\1", text)


def can_read(tokenizer: Tokenizer) -> bool:
    """Whether this kind of tokenizer tells where words begin in a way that is known here."""
    return isinstance(tokenizer.model, models.WordPiece) or bool(_find_space_mark(tokenizer))


def _find_space_mark(tokenizer: Tokenizer) -> str | None:
    """How BPE's pieces write the space that begins a word; None: in no known way.

    Unigram is not read: its special tokens are pieces like any other, so a typed "</s>" would be
    the end.
    """
    if isinstance(tokenizer.model, models.BPE):
        pieces = tokenizer.get_vocab()
        for mark in (SPACE, LOW_LINE):
            if any(piece.startswith(mark) for piece in pieces):
                return mark
    return None


def train_byte_level_bpe(
    sentences: Iterable[str], vocab_size: int, special_tokens: list[str]
) -> Tokenizer:
    """Learn byte-level BPE (Sennrich et al. 2016, on bytes as in GPT-2) from sentences.

    special_tokens: have the first ids, and are never found in a text.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special_tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    return tokenizer


class CaptionTokenizer:
    """A `tokenizers` tokenizer (`tokenizer.json`) with a start and an end token: byte-level BPE,
    as ours is, SentencePiece's BPE, or WordPiece.

    start, ends: their ids, where the tokenizer does not know them by our names. Several may end a
        caption; `end`, the first, is what ends a sentence that is given.
    """

    def __init__(self, tokenizer: Tokenizer, start: int | None = None, ends: Sequence[int] = ()):
        self.tokenizer = tokenizer
        tokenizer.no_padding()  # as it may have been saved after training
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True  # "<|end|>" typed by a user is text, not an end
        start = tokenizer.token_to_id(START) if start is None else start
        own_end = tokenizer.token_to_id(END)
        if not ends and own_end is not None:
            ends = (own_end,)
        self.begins_with_space = False  # what is written follows a prompt that ends in a word
        self._space = _find_space_mark(tokenizer) or SPACE
        # SentencePiece's often put a space before a text themselves
        first = tokenizer.encode("a", add_special_tokens=False).tokens[:1]
        self._adds_space = self._space == LOW_LINE and bool(first) and first[0][:1] == LOW_LINE
        self._is_wordpiece = isinstance(tokenizer.model, models.WordPiece)
        if start is None or not ends:
            raise CheckpointError(f"tokenizer.json has no {START} and {END} tokens")
        self.start, self.end, self.ends = start, ends[0], tuple(ends)

    def begin_with(self, start: int) -> "CaptionTokenizer":
        """This tokenizer with another start token, as another prompt gives it."""
        other = copy(self)
        other.start = start
        return other

    @cached_property
    def equal_tokens(self) -> dict[int, int]:
        """Tokens with capitals -> those of the same letters in small that begin a word: "A" at the
        start of a sentence is the "a" within it."""
        ids = self.tokenizer.get_vocab()
        small = {
            token: SPACE + token.removeprefix(SPACE).lower()
            for token in ids
            if token.removeprefix(SPACE)[:1].isupper()
        }
        return {ids[token]: ids[other] for token, other in small.items() if other in ids}

    @classmethod
    def train(cls, captions: Iterable[str], vocab_size: int) -> "CaptionTokenizer":
        """See `train_byte_level_bpe`."""
        return cls(train_byte_level_bpe(captions, vocab_size, [START, END]))

    @classmethod
    def load(cls: type[AnyTokenizer], folder: Path) -> AnyTokenizer:
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise CheckpointError(f"{path}: missing")
        try:
            return cls(Tokenizer.from_file(str(path)))
        except CheckpointError:
            raise
        except Exception as error:  # the library raises bare Exception
            raise CheckpointError(f"{path}: not a tokenizer ({error})") from error

    def save(self, folder: Path) -> None:
        self.tokenizer.save(str(folder / "tokenizer.json"))

    @property
    def vocab_size(self) -> int:
        return self.tokenizer.get_vocab_size()

    def encode(self, text: str) -> tuple[list[int], list[Word]]:
        """Tokens of a sentence, without start and end, and its words with their tokens.

        Words are what stands between spaces, in order; a mark that stands alone (" .") belongs
        to the word before it. Any text can be encoded: what is not in the vocabulary becomes
        bytes. Raises OptionError for more than 100,000 characters, and for what is no text.
        """
        if not isinstance(text, str):
            raise OptionError(f"a text is due, not {type(text).__name__}")
        if len(text) > MAX_CHARACTERS:
            raise OptionError(f"a text of more than {MAX_CHARACTERS:,} characters")
        try:
            text.encode()
        except UnicodeEncodeError as error:  # bytes of another encoding on the command line
            raise OptionError("a text with characters that are not UTF-8") from error
        tokens: list[int] = []
        words: list[Word] = []
        for word in _attach_punctuation(" ".join(text.split())).split():
            # BPE never joins pieces across a space, so words can be encoded one by one
            has_space = (words or self.begins_with_space) and not self._adds_space
            pieces = self.tokenizer.encode(
                (" " if has_space else "") + word, add_special_tokens=False
            ).ids
            words.append(Word(word, len(tokens), len(tokens) + len(pieces)))
            tokens += pieces
        return tokens, words

    def follows_a_word(self, token: int) -> bool:
        """Whether the word before this token is whole: a space, a mark or the end comes next."""
        piece = self._piece(token)
        return token in self.ends or self._begins_word(piece) or not piece.strip(PUNCTUATION)

    def words(self, tokens: Sequence[int]) -> list[Word]:
        """Group tokens (without start and end) into words; sub-word pieces are joined.

        The words' spans cover all tokens. Bytes that are not UTF-8 show as U+FFFD.
        """
        pieces = [self._piece(token) for token in tokens]
        starts = [
            i
            for i, (before, piece) in enumerate(zip([""] + pieces, pieces, strict=False))
            if not i or self._begins_word(piece, before)
        ]
        words: list[Word] = []
        for start, stop in zip(starts, [*starts, len(tokens)][1:], strict=True):
            text = "".join(self.tokenizer.decode(list(tokens[start:stop])).split())
            # punctuation alone belongs to the word before, and so does what follows a bare space
            if words and (not text.strip(PUNCTUATION) or not words[-1].text):
                last = words.pop()
                words.append(Word(last.text + text, last.start, stop))
            else:
                words.append(Word(text, start, stop))
        return words

    def _piece(self, token: int) -> str:
        return self.tokenizer.id_to_token(token) or ""

    def _begins_word(self, piece: str, before: str = "") -> bool:
        if self._is_wordpiece:
            return not piece.startswith(GOES_ON) and piece not in JOINS and before not in JOINS
        return piece.startswith(self._space)
