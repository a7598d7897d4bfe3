"""Sentences in several languages: text files of equal length, or one table."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from model.corpora.text import check_file, read_lines, read_text
from model.errors import DataError, OptionError
from model.network.tokenizer import MAX_CHARACTERS
from model.translation.translator import Translator

FILES_HELP = (
    "text files of equal length, a sentence a line, whose endings are their languages (train.en "
    "train.de); or one .tsv table whose first row names them; the first language is translated "
    "into all others"
)
TABLE = ".tsv"


@dataclass(frozen=True)
class ParallelText:
    """Sentences, line by line the same in several languages.

    sentences: as they were written, by language, all equally many; the first language is the
        source.
    """

    sentences: dict[str, list[str]]

    @property
    def source(self) -> str:
        return next(iter(self.sentences))

    @property
    def targets(self) -> list[str]:
        return list(self.sentences)[1:]

    @property
    def num_lines(self) -> int:
        return len(self.sentences[self.source])

    def summarize(self) -> dict:
        """Counts and a digest, for the run's `data.json`."""
        digest = hashlib.sha256(json.dumps(self.sentences).encode()).hexdigest()[:16]
        return {"lines": self.num_lines, "languages": list(self.sentences), "digest": digest}


def read_parallel_text(files: list[str]) -> ParallelText:
    """Read files as `FILES_HELP` says; lines that are blank in one language are left out of all.

    Raises DataError, in one line, for what cannot be read or does not belong together.
    """
    for name in files:
        check_file(name)
    if len(files) == 1 and files[0].endswith(TABLE):
        columns = _read_table(Path(files[0]))
    else:
        columns = _read_text_files(files)
    if len(columns) < 2:
        raise DataError(f"{', '.join(files)}: one language; a translation takes two")
    rows = [row for row in zip(*columns.values(), strict=True) if all(map(str.strip, row))]
    if not rows:
        raise DataError(f"{', '.join(files)}: no line that has a sentence in every language")
    languages = zip(columns, zip(*rows, strict=True), strict=True)
    return ParallelText({language: list(map(str.strip, texts)) for language, texts in languages})


def _read_text_files(files: list[str]) -> dict[str, list[str]]:
    columns: dict[str, list[str]] = {}
    for name in files:
        language = Path(name).suffix[1:]
        if not language or language in columns:
            problem = "another file of that language" if language else "no ending"
            raise DataError(f"{name}: {problem}; name each file by its language: train.en train.de")
        columns[language] = read_text(Path(name)).removesuffix("\n").split("\n")
        for number, line in enumerate(columns[language], 1):
            _check_length(line, f"{name}, line {number:,}")
    lengths = [len(lines) for lines in columns.values()]
    if len(set(lengths)) > 1:
        counts = (f"{name} has {n:,}" for name, n in zip(files, lengths, strict=True))
        raise DataError(f"lines must be translations of each other, but {', '.join(counts)}")
    return columns


def _read_table(path: Path) -> dict[str, list[str]]:
    numbered = [(number, line.split("\t")) for number, line in read_lines(path)]
    if not numbered:
        raise DataError(f"{path}: empty")
    rows = [row for _, row in numbered]
    languages = [name.strip() for name in rows[0]]
    if len(set(languages)) < len(languages):
        raise DataError(f"{path}: its first row names a language twice")
    for number, row in numbered[1:]:
        if len(row) != len(languages):
            raise DataError(
                f"{path}, row {number}: {len(row)} columns, but the first row names "
                f"{len(languages)} languages"
            )
        for sentence in row:
            _check_length(sentence, f"{path}, row {number:,}")
    return {language: [row[i] for row in rows[1:]] for i, language in enumerate(languages)}


def _check_length(sentence: str, where: str) -> None:
    """Raises DataError for more than a tokenizer reads."""
    if len(sentence) > MAX_CHARACTERS:
        raise DataError(f"{where}: more than {MAX_CHARACTERS:,} characters; one sentence is due")


def check_sources(text: ParallelText, translator: Translator) -> None:
    """Raises DataError, which quotes it, for a source sentence that cannot be translated."""
    for sentence in text.sentences[text.source]:
        try:
            translator.read_sentence(sentence)
        except OptionError as error:
            raise DataError(f"{text.source}, {sentence[:40]!r}: {error}") from error
