"""Captions in a folder of part files, which a run that was interrupted adds to."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from model.errors import OptionError
from model.output.records import jsonl_writer

FORMATS = ("jsonl", "parquet")
ERRORS = "errors.jsonl"
PART_RECORDS, PART_SECONDS = 10_000, 60  # what a part holds at most; what a kill costs at most


class PartFiles:
    """Writes records to `part-000001.jsonl` or `.parquet` and so on, which are whole or absent.

    Photos that could not be captioned are in `errors.jsonl`, which each run begins anew, as it
    tries them again. To be used in a `with` statement, which writes the last part however it ends.

    done: the photos that the folder's parts hold, of either format.

    Raises ValueError if they were captioned by another checkpoint.
    """

    def __init__(self, folder: str | Path, format: str, checkpoint: str):
        self.folder, self.format = Path(folder), format
        self.folder.mkdir(parents=True, exist_ok=True)
        self.captioned = self.failed = 0
        self.done: set[str] = set()
        parts = sorted(self.folder.glob("part-*"))
        for image, other in (pair for part in parts for pair in _pairs(part)):
            if other != checkpoint:
                raise OptionError(f"{folder}: has captions by {other}; give another folder")
            self.done.add(image)
        self._number = int(parts[-1].stem.removeprefix("part-")) if parts else 0
        self._records: list[dict] = []
        self._begun = 0.0

    def __enter__(self) -> "PartFiles":
        (self.folder / ERRORS).unlink(missing_ok=True)
        return self

    def __exit__(self, *_) -> None:
        self._write()

    def add(self, records: list[dict]) -> None:
        """A photo's records: they stay together in a part."""
        if "error" in records[0]:
            self.failed += 1
            with open(self.folder / ERRORS, "a", encoding="utf-8") as file:
                jsonl_writer(file)(records[0])
        else:
            self.captioned += 1
            if not self._records:
                self._begun = time.monotonic()
            self._records += records
        if time.monotonic() - self._begun > PART_SECONDS or len(self._records) >= PART_RECORDS:
            self._write()

    def _write(self) -> None:
        if not self._records:
            return
        self._number += 1
        part = self.folder / f"part-{self._number:06d}.{self.format}"
        unfinished = self.folder / f".{part.name}"
        if self.format == "parquet":
            _write_parquet(self._records, unfinished)
        else:
            with open(unfinished, "w", encoding="utf-8") as file:
                for record in self._records:
                    jsonl_writer(file)(record)
        os.replace(unfinished, part)
        self._records = []


def _pairs(part: Path) -> Iterator[tuple[str, str]]:
    """(image, checkpoint) of a part's records."""
    if part.suffix == ".parquet":
        import pyarrow.parquet as pq

        rows = pq.read_table(part, columns=["image", "checkpoint"]).to_pylist()
    else:
        rows = map(json.loads, part.open(encoding="utf-8"))
    for row in rows:
        yield row["image"], row["checkpoint"]


def _write_parquet(records: list[dict], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    word = pa.struct([("text", pa.string()), ("probability", pa.float64())])
    schema = pa.schema(
        [
            ("image", pa.string()),
            ("caption", pa.string()),
            ("log_probability", pa.float64()),
            ("words", pa.list_(word)),
            ("checkpoint", pa.string()),
        ]
    )
    pq.write_table(pa.Table.from_pylist(records, schema), path, compression="zstd")
