"""Captions and maps as data, the same from the command line and the page: JSON lines, CSV, JSON."""

import csv
import io
import json
import os
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.errors import CaptionLensError, OptionError
from model.explain.explanation import Explanation
from model.explain.methods import compute_image_share, compute_spread, find_sinks
from model.search.caption import Caption
from model.translation import Translation, Translator


def make_records(
    image: str,
    captions: list[Caption] | Exception,
    checkpoint: str,
    memory: str | None = None,
    prompt: str | None = None,
) -> list[dict[str, Any]]:
    """A photo's records: one for each caption, or the one error.

    checkpoint, memory: their names. For translations see `add_translations`.
    prompt: what was asked, if not the captioner's own question.
    """
    if isinstance(captions, Exception):
        return [{"image": image, **describe_error(captions)}]
    return [
        {
            "image": image,
            "caption": caption.text,
            "log_probability": caption.log_probability,
            "words": [{"text": w.text, "probability": w.probability} for w in caption.words],
            "checkpoint": checkpoint,
            **({} if memory is None else _name_remembered(caption, memory)),
            **({} if prompt is None else {"prompt": prompt}),
        }
        for caption in captions
    ]


def _name_remembered(caption: Caption, memory: str) -> dict[str, Any]:
    """What a caption borrowed from: part of its record."""

    def to_text(name: str) -> str:  # a memory may hold half a character, which no file takes
        return name.encode(errors="backslashreplace").decode()

    remembered = [
        {"photo": to_text(other.photo), "caption": to_text(other.text)}
        for other in caption.remembered
    ]
    return {"memory": memory, "remembered": remembered}


def add_translations(
    records: Sequence[dict[str, Any]], translator: Translator, language: str
) -> None:
    """Add to each caption's record its translation; to that of one that cannot be translated an
    empty one, and why as `translation_error`, unless it has no word either."""
    with_caption = [record for record in records if "caption" in record]
    results = translator.translate_readable([r["caption"] for r in with_caption], language)
    for record, result in zip(with_caption, results, strict=True):
        record |= {"translation": "", "language": language}
        if isinstance(result, Translation):
            record["translation"] = result.text
        elif record["words"]:
            record["translation_error"] = str(result)


def make_translation_record(translation: Translation) -> dict[str, Any]:
    """A translation with its words and what they looked at, ready for JSON."""
    return {
        "source": translation.source,
        "language": translation.language,
        "translation": translation.text,
        "log_probability": translation.log_probability,
        "unfamiliar": translation.is_unfamiliar,
        "words": [{"text": w.text, "probability": w.probability} for w in translation.words],
        "source_words": [word.text for word in translation.source_words],
        "alignment": translation.alignment.tolist(),
    }


def describe_error(error: Exception) -> dict[str, str]:
    """The error's part of a record. A fault of the program keeps its trace."""
    if isinstance(error, CaptionLensError | OSError | MemoryError):
        return {"error": str(error)}
    trace = "".join(traceback.format_exception(error))
    return {"error": f"a fault in CaptionLens ({type(error).__name__}: {error})", "trace": trace}


def to_jsonl(record: Mapping[str, Any]) -> str:
    """A record as a line of JSON, with its line break."""
    return json.dumps(record, ensure_ascii=False) + "\n"


JSONL_START = b'{"image":'  # how each line of JSON begins
CSV_COLUMNS = ("image", "caption", "log_probability", "error")
MEMORY_CSV_COLUMNS = ("remembered",)  # more, where a memory is used
LANGUAGE_CSV_COLUMNS = ("translation", "language")  # where captions are translated


def choose_csv_columns(*, has_memory: bool, is_translated: bool) -> tuple[str, ...]:
    """The columns of a file of captions."""
    columns = CSV_COLUMNS + (MEMORY_CSV_COLUMNS if has_memory else ())
    return columns + (LANGUAGE_CSV_COLUMNS if is_translated else ())


def to_csv(record: Mapping[str, Any], columns: Sequence[str] = CSV_COLUMNS) -> str:
    """A record as a line of CSV, with its line break."""
    cells = {**dict.fromkeys(columns, ""), **record}
    if "error" not in record:
        cells["log_probability"] = f"{record['log_probability']:.4f}"
    if "remembered" in record:
        cells["remembered"] = json.dumps(record["remembered"], ensure_ascii=False)
    return _format_csv_line([cells[column] for column in columns])


def make_csv_heading(columns: Sequence[str] = CSV_COLUMNS) -> str:
    """The first line of a CSV file, with its line break."""
    return _format_csv_line(columns)


def _format_csv_line(values: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()


def make_photo_key(image: str, folder: str = "") -> str:
    """The absolute path of a record's image, by which a later run recognises the photo.

    Relative paths begin at the working directory, or else at `folder`. Links are not followed: a
    photo that another link leads to has a record of its own.
    """
    # bytes that are not text are written with backslashes, as in the output
    path = os.path.abspath(os.path.join(folder, image))
    return path.encode("utf-8", errors="backslashreplace").decode()


class Maker(NamedTuple):
    """What makes captions, as their records name it. None: without; prompt None: the captioner's
    own question."""

    checkpoint: str
    memory: str | None = None
    language: str | None = None
    prompt: str | None = None

    def describe_other(self, record: Mapping[str, Any]) -> str | None:
        """What made a caption's record, in words, where it was not this."""
        other = Maker(
            record.get("checkpoint", self.checkpoint),
            *(record.get(name) for name in ("memory", "language", "prompt")),
        )
        words = [other.checkpoint]
        if not _is_same_path(other.memory, self.memory):
            memory = other.memory
            words.append("without a memory" if memory is None else f"with the memory {memory}")
        if other.language != self.language:
            into = other.language
            words.append(
                "without translations" if into is None else f"with translations into {into}"
            )
        if other.prompt != self.prompt:
            prompt = other.prompt
            words.append("without --prompt" if prompt is None else f"with --prompt {prompt!r}")
        is_same = len(words) == 1 and _is_same_path(other.checkpoint, self.checkpoint)
        return None if is_same else " ".join(words)


def _is_same_path(name: str | None, other: str | None) -> bool:
    """Whether two names are recognised as one, as those of photos are."""
    if name is None or other is None:
        return name is other
    return make_photo_key(name) == make_photo_key(other)


def count_captions(
    path: Path, format: str, csv_columns: Sequence[str], maker: Maker
) -> Counter[str]:
    """How many captions a file of records (format "jsonl" or "csv") holds for each image, by its
    `make_photo_key`. Errors are not counted, nor is a last line that was cut off.

    maker: of the captions that will be added.

    Raises OptionError for a file of something else, of captions with other columns or translated
    into another language than these, and for JSON lines of another maker.
    """
    data = path.read_bytes()
    whole_lines = data[: data.rfind(b"\n") + 1]
    cut_line = data[len(whole_lines) :]
    text = whole_lines.decode("utf-8-sig", errors="backslashreplace")
    try:
        if format == "jsonl":
            records = [json.loads(line) for line in text.split("\n") if line]
            if not JSONL_START.startswith(cut_line[: len(JSONL_START)]):
                raise ValueError("the last line is not the beginning of a record")
        else:
            columns, *rows = csv.reader(io.StringIO(text, newline="")) if data else [csv_columns]
            _check_heading(path, columns, csv_columns)
            records = [dict(zip(columns, row, strict=True)) for row in rows]
        captioned = [record for record in records if not record.get("error")]
        for record in captioned:
            if (begun := record.get("language")) != maker.language:
                way = f"with translations into {begun}" if begun else "without translations"
                raise _make_resume_error(path, way)
            if format == "jsonl" and (other := maker.describe_other(record)):
                raise OptionError(f"{path}: has captions by {other}; give another --output")
        return Counter(make_photo_key(record["image"]) for record in captioned)
    except OptionError:  # which is a ValueError too
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        raise OptionError(
            f"{path}: not captions as {format}, so --resume cannot add to it; give another --output"
        ) from error


def _check_heading(path: Path, columns: Sequence[str], expected: Sequence[str]) -> None:
    """Raises OptionError for the heading of another kind of captions, ValueError for any other."""
    known = [
        choose_csv_columns(has_memory=has_memory, is_translated=is_translated)
        for has_memory in (False, True)
        for is_translated in (False, True)
    ]
    if tuple(columns) not in known:
        raise ValueError("another heading")
    for name, feature in (("remembered", "a memory"), ("translation", "translations")):
        if (name in columns) != (name in expected):
            raise _make_resume_error(path, f"{'with' if name in columns else 'without'} {feature}")


def _make_resume_error(path: Path, way: str) -> OptionError:
    return OptionError(f"{path}: begun {way}; go on in the same way, or give another --output")


def remove_cut_line(path: Path) -> None:
    """Shorten a file to its last line break: a program that was killed may have left part of a
    line behind it."""
    data = path.read_bytes()
    os.truncate(path, data.rfind(b"\n") + 1)


def make_explanation_record(
    explanation: Explanation, maps: Sequence[NDArray[Any]], about: Mapping[str, Any]
) -> dict[str, Any]:
    """A sentence with a map for each word, ready for JSON.

    about: how the maps were made; its items come first.
    """
    attention = explanation.attention
    remembered = [
        {"photo": other.photo, "caption": other.text, "words": [w.text for w in other.words]}
        for other in explanation.remembered
    ]
    return {
        **about,
        "log_probability": explanation.log_probability,
        "grid_size": attention.grid_size,
        "num_prefix_tokens": attention.num_prefix_tokens,
        "spread": compute_spread(maps),
        "sinks": np.argwhere(find_sinks(attention)).tolist(),
        "doubts": explanation.doubts(maps),
        **({"remembered": remembered} if remembered else {}),
        "words": [
            {
                "text": word.text,
                "probability": word.probability,
                "image_share": compute_image_share(attention, (word.start, word.stop)),
                **(_describe_memory(explanation, index) if remembered else {}),
                "gain": explanation.gains[index],
                "map": maps[index].tolist(),
            }
            for index, word in enumerate(explanation.words)
        ],
    }


def _describe_memory(explanation: Explanation, word: int) -> dict[str, Any]:
    """How much a word looked at the memory: at all of it, and at each word of each caption."""
    weights = explanation.memory_weights(word)
    return {"memory_share": explanation.memory_share(word), "memory_weights": weights}
