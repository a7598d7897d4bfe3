"""Exporting a captioner: a folder with it in half precision, its card and its learning curve."""

import json
import shutil
import tempfile
from pathlib import Path

import torch

from model import Captioner, load
from model.checkpoint.hub import SHIPPED, SHIPPED_NAME
from model.errors import CheckpointError, DataError
from model.output_path import check_output_folder
from training.loop.run_folder import BEST, CURVE
from training.publish.model_card import create_card
from training.publish.run_record import RunRecord

CARD = "README.md"
SCORE_FIELDS = {"data", "split", "num_images", "decoding"}


def find_captioner(folder: Path) -> tuple[Path, RunRecord]:
    """The captioner's folder and the record of its run, from either folder; a captioner may also
    have no run.

    Raises DataError for a folder that is neither.
    """
    run = folder.parent if folder.name == BEST else folder
    if (run / BEST / "config.json").is_file():
        return run / BEST, RunRecord.load(run)
    if (folder / "config.json").is_file():
        return folder, RunRecord()
    raise DataError(f"{folder}: neither a run (no {BEST}/config.json) nor a captioner")


def read_scores(path: Path, captioner: Path) -> dict:
    """What `training.evaluate` wrote about the captioner in this folder.

    Raises DataError for another kind of file, or the scores of another captioner.
    """
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
        metrics = [scores[name] + scores["no_image"][name] for name in scores["made_with"]]
        name = scores["checkpoint"]
        scored = SHIPPED if name == SHIPPED_NAME else Path(name)
        is_complete = metrics and SCORE_FIELDS <= scores.keys()
    except (ValueError, KeyError, TypeError):
        is_complete = False
    if not is_complete:
        raise DataError(f"{path}: not scores that training.evaluate wrote with --output")
    if scored.is_dir() and not scored.samefile(captioner):
        raise DataError(f"{path}: scores of {scored}, not of {captioner}")
    return scores


def export_captioner(
    run: Path,
    output: Path,
    name: str | None = None,
    scores: Path | None = None,
    license: str = "other",
) -> None:
    """Write captioner, card and learning curve into a new folder, all of it or nothing.

    name: the hub id that it will have; the folder's name if it has none.

    Raises CaptionLensError or OSError, in one line, for what cannot be exported, an output that is
    not empty, or a captioner that differs when it is read back.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FileExistsError(f"{output}: exists already; give a new folder")
    check_output_folder(output.parent)  # the folder is built beside its final path
    folder, record = find_captioner(run)
    captioner = load(folder)
    card = create_card(
        captioner,
        name or output.resolve().name,
        record,
        read_scores(scores, folder) if scores else None,
        license,
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=output.parent) as temporary:
        unfinished = Path(temporary) / output.name
        captioner.save_pretrained(unfinished)
        (unfinished / CARD).write_text(card, encoding="utf-8")
        if record.curve:
            shutil.copyfile(record.curve, unfinished / CURVE)
        check_export(unfinished, captioner)
        if output.exists():
            output.rmdir()
        unfinished.rename(output)


def check_export(folder: Path, captioner: Captioner) -> None:
    """Load what was written, and compare it with the captioner.

    Raises CheckpointError where they differ.
    """
    written, original = load(folder).network, captioner.network
    weights = written.state_dict()
    different = [
        name
        for name, weight in original.state_dict().items()
        if not torch.equal(weight.half(), weights[name].half())
    ]
    if written.config != original.config:
        different.append("config.json")
    if written.tokenizer.tokenizer.to_str() != original.tokenizer.tokenizer.to_str():
        different.append("tokenizer.json")
    if different:
        raise CheckpointError(
            f"not read back as written: {', '.join(different[:5])}; nothing exported"
        )
