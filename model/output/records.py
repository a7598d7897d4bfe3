"""Captions and maps as data, the same from the command line and the page: JSON lines, CSV, JSON."""

import csv
import io
import json
import os
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import CaptionLensError, OptionError
from model.explain.explanation import Explanation
from model.explain.methods import compute_image_share, compute_spread, find_sinks
from model.search.caption import Caption


def make_records(
    image: str, captions: list[Caption] | Exception, checkpoint: str, memory: str | None = None
) -> list[dict[str, Any]]:
    """A photo's records: one for each caption, or the one error.

    checkpoint, memory: their names.
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
MEMORY_CSV_COLUMNS = (*CSV_COLUMNS, "remembered")  # where a memory is used


def to_csv(record: Mapping[str, Any], columns: Sequence[str] = CSV_COLUMNS) -> str:
    """A record as a line of CSV, with its line break."""
    cells = {"caption": "", "log_probability": "", "error": "", "remembered": "", **record}
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


def count_captions(
    path: Path, format: str, csv_columns: Sequence[str] = CSV_COLUMNS
) -> Counter[str]:
    """How many captions a file of records (format "jsonl" or "csv") holds for each image, by its
    `make_photo_key`. Errors are not counted, nor is a last line that was cut off.

    Raises OptionError for a file of something else.
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
            if tuple(columns) in {CSV_COLUMNS, MEMORY_CSV_COLUMNS} - {tuple(csv_columns)}:
                raise OptionError(
                    f"{path}: begun {'without' if tuple(columns) == CSV_COLUMNS else 'with'} a "
                    "memory; go on in the same way, or give another --output"
                )
            if tuple(columns) != tuple(csv_columns):
                raise ValueError("another heading")
            records = [dict(zip(columns, row, strict=True)) for row in rows]
        return Counter(make_photo_key(r["image"]) for r in records if not r.get("error"))
    except OptionError:  # which is a ValueError too
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        raise OptionError(
            f"{path}: not captions as {format}, so --resume cannot add to it; give another --output"
        ) from error


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
