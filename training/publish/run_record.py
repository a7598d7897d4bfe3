"""What a run folder records of how its captioner was trained."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from model.errors import DataError
from training.loop.run_folder import CURVE, DATA, LOG, SETTINGS


@dataclass
class RunRecord:
    """The record of a run; all of it may be missing.

    Attributes:
        settings: of the run itself and then of the runs that it continued, as far as their folders
            still exist.
        evaluations: entries of the log with a dev score, in their order.
        counts: split -> {"photos": ..., "captions": ...}.
        curve: the picture of the learning curve.
    """

    settings: list[dict] = field(default_factory=list)
    evaluations: list[dict] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    curve: Path | None = None

    @classmethod
    def load(cls, folder: Path) -> "RunRecord":
        """Read a run folder; raises DataError for a damaged file."""
        curve, counts = folder / CURVE, folder / DATA
        return cls(
            settings=list(_read_lineage(folder)),
            evaluations=[entry for entry in _read_log(folder / LOG) if "eval_cider" in entry],
            counts=_read_json(counts) if counts.is_file() else {},
            curve=curve if curve.is_file() else None,
        )

    @property
    def origin(self) -> str | None:
        """The captioner or image encoder that the first of the runs started from, if known."""
        if not self.settings:
            return None
        return self.settings[-1].get("checkpoint") or self.settings[-1].get("encoder")


def list_data(settings: dict) -> list[str]:
    """The folders or hub ids that a run with these settings learned from."""
    data = settings.get("data", "?")
    return list(data) if isinstance(data, list) else [data]


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds no settings; it was changed or damaged")
    return content


def _read_log(log: Path) -> Iterator[dict]:
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # the run was killed while it wrote
            continue
        if isinstance(entry, dict):
            yield entry


def _read_lineage(folder: Path) -> Iterator[dict]:
    """The settings of a run, of the run that it continued, and so on."""
    visited = set()
    while (folder / SETTINGS).is_file() and folder.resolve() not in visited:
        visited.add(folder.resolve())
        settings = _read_json(folder / SETTINGS)
        yield settings
        checkpoint = settings.get("checkpoint")
        if not checkpoint or not isinstance(checkpoint, str):
            return
        folder = Path(checkpoint).parent
