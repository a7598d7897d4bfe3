"""Captions in a folder of part files, which a run that was interrupted adds to."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model.errors import OptionError
from model.output.records import Maker, to_jsonl

FORMATS = ("jsonl", "parquet")
ERRORS_FILE = "errors.jsonl"
MAX_PART_RECORDS = 10_000
MAX_PART_SECONDS = 60  # what a run that is killed loses at most


class PartFiles:
    """Writes records to `part-000001.jsonl` or `.parquet` and so on, which are whole or absent.

    Photos that could not be captioned are in `errors.jsonl`, which each run begins anew, as it
    tries them again. Use it in a `with` statement, which writes the last part however it ends.

    Attributes:
        images_done: the photos that the folder's parts held at the start, of either format.
        num_captioned, num_failed: photos that were added since.

    Raises OptionError if the folder's parts were captioned by another checkpoint, with another
    memory, translated into another language (None: without), or asked by another prompt (None: the
    captioner's own).
    """

    def __init__(
        self,
        folder: str | Path,
        format: str,
        checkpoint: str,
        memory: str | None = None,
        language: str | None = None,
        prompt: str | None = None,
    ):
        self.folder, self.format = Path(folder), format
        self.folder.mkdir(parents=True, exist_ok=True)
        self.num_captioned = self.num_failed = 0
        self.images_done: set[str] = set()
        maker = Maker(checkpoint, memory, language, prompt)
        parts = sorted(self.folder.glob("part-*"))
        for part in parts:
            for row in _read_makers(part):
                if other := maker.describe_other(row):
                    raise OptionError(f"{folder}: has captions by {other}; give another folder")
                self.images_done.add(row["image"])
        self._part_number = int(parts[-1].stem.removeprefix("part-")) if parts else 0
        self._records: list[dict[str, Any]] = []
        self._part_start = 0.0  # when the first of the records came, on the monotonic clock

    def __enter__(self) -> "PartFiles":
        (self.folder / ERRORS_FILE).unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._write_part()

    def add(self, records: list[dict[str, Any]]) -> None:
        """Add a photo's records, which stay together in a part."""
        if "error" in records[0]:
            self.num_failed += 1
            with open(self.folder / ERRORS_FILE, "a", encoding="utf-8") as file:
                file.write(to_jsonl(records[0]))
        else:
            self.num_captioned += 1
            if not self._records:
                self._part_start = time.monotonic()
            self._records += records
        if (
            time.monotonic() - self._part_start > MAX_PART_SECONDS
            or len(self._records) >= MAX_PART_RECORDS
        ):
            self._write_part()

    def _write_part(self) -> None:
        if not self._records:
            return
        self._part_number += 1
        part = self.folder / f"part-{self._part_number:06d}.{self.format}"
        unfinished = self.folder / f".{part.name}"
        if self.format == "parquet":
            _write_parquet(self._records, unfinished)
        else:
            with open(unfinished, "w", encoding="utf-8") as file:
                file.writelines(map(to_jsonl, self._records))
        os.replace(unfinished, part)
        self._records = []


def _read_makers(part: Path) -> Iterator[dict[str, Any]]:
    """Of each record of a part its image, and what it was made by."""
    if part.suffix == ".parquet":
        import pyarrow.parquet as pq

        wanted = {"image", "checkpoint", "memory", "language", "prompt"}
        names = set(pq.read_schema(part).names) & wanted
        yield from pq.read_table(part, columns=sorted(names)).to_pylist()
    else:
        yield from map(json.loads, part.open(encoding="utf-8"))


def _write_parquet(records: list[dict[str, Any]], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    word = pa.struct([("text", pa.string()), ("probability", pa.float64())])
    columns = [
        ("image", pa.string()),
        ("caption", pa.string()),
        ("log_probability", pa.float64()),
        ("words", pa.list_(word)),
        ("checkpoint", pa.string()),
    ]
    if "memory" in records[0]:
        remembered = pa.struct([("photo", pa.string()), ("caption", pa.string())])
        columns += [("memory", pa.string()), ("remembered", pa.list_(remembered))]
    if "language" in records[0]:
        names = ("translation", "language", "translation_error")
        columns += [(name, pa.string()) for name in names]
    if "prompt" in records[0]:
        columns.append(("prompt", pa.string()))
    schema = pa.schema(columns)
    pq.write_table(pa.Table.from_pylist(records, schema), path, compression="zstd")
