"""Captions and maps as data, the same from the command line and the page: JSON lines, CSV, JSON."""

import csv
import io
import json
import os
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from model.errors import CaptionLensError, OptionError
from model.explain.explanation import Explanation
from model.explain.methods import image_share, sinks, spread
from model.search.caption import Caption


def records(image: str, captions: list[Caption] | Exception, checkpoint: str) -> list[dict]:
    """A photo's rows: one for each caption, or the one error."""
    if isinstance(captions, Exception):
        return [{"image": image, **describe_error(captions)}]
    return [
        {
            "image": image,
            "caption": caption.text,
            "log_probability": caption.log_probability,
            "words": [{"text": w.text, "probability": w.probability} for w in caption.words],
            "checkpoint": checkpoint,
        }
        for caption in captions
    ]


def describe_error(error: Exception) -> dict[str, str]:
    """The error of a record; one that no user can mend keeps its trace."""
    if isinstance(error, CaptionLensError | OSError | MemoryError):
        return {"error": str(error)}
    trace = "".join(traceback.format_exception(error))
    return {"error": f"a fault in CaptionLens ({type(error).__name__}: {error})", "trace": trace}


def jsonl_writer(file: TextIO) -> Callable[[dict], None]:
    """What writes a record as a line of JSON."""

    def write(record: dict) -> None:
        print(json.dumps(record, ensure_ascii=False), file=file)

    return write


RECORD = b'{"image":'  # how a line of JSON begins
CSV_HEADING = ["image", "caption", "log_probability", "error"]


def csv_writer(file: TextIO, heading: bool = True) -> Callable[[dict], None]:
    """What writes a record as a line of CSV, after the heading, which is written at once."""
    writer = csv.writer(file, lineterminator="\n")
    if heading:
        writer.writerow(CSV_HEADING)

    def write(record: dict) -> None:
        if "error" in record:
            writer.writerow([record["image"], "", "", record["error"]])
        else:
            probability = f"{record['log_probability']:.4f}"
            writer.writerow([record["image"], record["caption"], probability, ""])

    return write


def photo_key(image: str, folder: str = "") -> str:
    """What a record's image is known by, so that a later run finds it: the absolute path, from
    where it runs or else from `folder`. Links are not followed: a photo that another link leads to
    has a record of its own.
    """
    # a name that is not text is written with backslashes
    path = os.path.abspath(os.path.join(folder, image))
    return path.encode("utf-8", errors="backslashreplace").decode()


def captioned(path: Path, format: str) -> Counter[str]:
    """How many captions a file of records (format "jsonl" or "csv") holds for each image, by its
    `photo_key`; an error is none.

    A last line that was cut off, as when the writing program was killed, is taken from the file.
    Raises ValueError for a file of something else.
    """
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    text = whole.decode("utf-8-sig", errors="backslashreplace")
    try:
        if format == "jsonl":
            records = [json.loads(line) for line in text.split("\n") if line]
            begins = data[len(whole) :][: len(RECORD)]
            if not RECORD.startswith(begins):
                raise ValueError("a last line of something else")
        else:
            heading, *rows = csv.reader(io.StringIO(text, newline="")) if data else [CSV_HEADING]
            if heading != CSV_HEADING:
                raise ValueError("another heading")
            records = [dict(zip(heading, row, strict=True)) for row in rows]
        images = Counter(photo_key(r["image"]) for r in records if not r.get("error"))
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise OptionError(
            f"{path}: not captions as {format}, so they cannot be gone on with; "
            "give another --output"
        ) from error
    if len(whole) < len(data):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    return images


def explanation_record(
    explanation: Explanation, maps: Sequence[np.ndarray], about: Mapping[str, Any]
) -> dict[str, Any]:
    """A sentence with a map for each word, ready for JSON; `about` says how they were made."""
    attention = explanation.attention
    return {
        **about,
        "log_probability": explanation.log_probability,
        "grid_size": attention.grid_size,
        "num_prefix_tokens": attention.num_prefix_tokens,
        "spread": spread(maps),
        "sinks": np.argwhere(sinks(attention)).tolist(),
        "doubts": explanation.doubts(maps),
        "words": [
            {
                "text": word.text,
                "probability": word.probability,
                "image_share": image_share(attention, (word.start, word.stop)),
                "gain": gain,
                "map": heatmap.tolist(),
            }
            for word, heatmap, gain in zip(explanation.words, maps, explanation.gains, strict=True)
        ],
    }
