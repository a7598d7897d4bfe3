"""Which checkpoint a run is resumed from: the newest of the same run that can be read."""

import dataclasses
import hashlib
import io
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from model.errors import DataError, OptionError
from model.network.network import Network
from model.network.vit import ViT
from training.loop.run_folder import AVERAGE, BEST, DATA, SETTINGS, write_json
from training.settings import TrainingSettings, name_option

WEIGHTS = "model.safetensors"
STATE = "trainer_state.json"  # which the Trainer writes last
REQUIRED_FILES = (WEIGHTS, "optimizer.pt", "scheduler.pt", STATE)
EARLIER_ENCODER = "captioner.encoder.backbone."  # of tensors, before the ViT was our own
CHECKSUMS = "checksums.json"  # of the weights: safetensors has none, torch's files are zips
PATH_SETTINGS = ("checkpoint", "encoder", "output", "cache")  # those that may be paths, and data


@dataclass(frozen=True)
class RunState:
    """How far a run was when it wrote a checkpoint.

    Attributes:
        history: the Trainer's log history.
        best_score: the selection score of the best evaluation, None before the first.
        evaluations_without_gain: since the best.
        is_finished: whether all steps were done.
    """

    history: list[dict]
    best_score: float | None
    evaluations_without_gain: int
    is_finished: bool


def read_run_state(checkpoint: str | Path) -> RunState:
    """The state of the run in the folder of a checkpoint, as transformers' Trainer writes it."""
    state = json.loads(Path(checkpoint, STATE).read_text(encoding="utf-8"))
    early_stopping = state["stateful_callbacks"]["EarlyStoppingCallback"]["attributes"]
    return RunState(
        history=state["log_history"],
        best_score=state["best_metric"],
        evaluations_without_gain=early_stopping["early_stopping_patience_counter"],
        is_finished=state["global_step"] >= state["max_steps"],
    )


def record_settings(settings: TrainingSettings) -> dict:
    """The settings as the run folder keeps them: paths absolute, hub ids as they are."""
    record = dataclasses.asdict(settings)
    record["data"] = [make_absolute(folder) for folder in record["data"]]
    if len(record["data"]) == 1:  # as before there could be several
        record["data"] = record["data"][0]
    if record["data_shares"]:
        record["data_shares"] = list(record["data_shares"])
    for name in PATH_SETTINGS:
        if record[name]:
            record[name] = make_absolute(record[name])
    return record


def make_absolute(name: str) -> str:
    """A path without the folder that the command was given in; a hub id as it is."""
    return os.path.abspath(name) if os.path.exists(name) else name


def check_same_run(output: Path, settings: dict, data_summary: dict) -> None:
    """Raise OptionError when the folder holds a run with other settings or photos, DataError when
    its records are damaged: two runs must not be mixed.

    settings: as `record_settings` gives them; data_summary: from `run_folder.summarize_data`.
    """
    earlier = _read_record(output / SETTINGS)
    changed = [
        name for name in settings if not _is_same_setting(name, earlier.get(name), settings[name])
    ]
    if changed:
        options = ", ".join(f"{name_option(name)} {earlier.get(name)}" for name in changed)
        raise OptionError(
            f"{output} holds a run with {options}; give the same, or another --output"
        )
    summary_file = output / DATA
    if summary_file.is_file() and _read_record(summary_file) != data_summary:
        raise OptionError(
            f"{output} holds a run on other photos or captions; give another --output"
        )


def _read_record(path: Path) -> dict:
    """A run's settings or summary; raises DataError for what is no JSON object."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise DataError(
            f"{path}: damaged, so this may be another run; give another --output, or delete "
            f"{path.parent} to start again (keep {path.parent / BEST}, the best so far)"
        )
    return record


def _is_same_setting(name: str, earlier: object, current: object) -> bool:
    if name == "output":  # a folder that was moved holds the same run
        return True
    if name in (*PATH_SETTINGS, "data") and earlier and current:
        return _resolve(earlier) == _resolve(current)
    return earlier == current


def _resolve(paths: object) -> object:
    """A path, or each of several, with its links followed."""
    if isinstance(paths, list):
        return [_resolve(path) for path in paths]
    return os.path.realpath(str(paths))


def check_encoder_order(checkpoint: str | Path, network: Network) -> None:
    """Raise OptionError when the encoder that learns was transformers' and is our own now: the
    optimizer's state goes by the order of the parameters, which was another."""
    if not isinstance(network.encoder, ViT):
        return
    if not any(parameter.requires_grad for parameter in network.encoder.parameters()):
        return
    with safe_open(Path(checkpoint, WEIGHTS), framework="pt") as file:
        is_earlier = any(name.startswith(EARLIER_ENCODER) for name in file.keys())  # noqa: SIM118
    if is_earlier:
        raise OptionError(
            f"{checkpoint}: an earlier version's run whose encoder learned cannot be resumed; give "
            f"--checkpoint {Path(checkpoint).parent / BEST} and another --output"
        )


def find_last_checkpoint(
    output: Path, verbose: bool = True, has_average: bool = True
) -> str | None:
    """The newest checkpoint of which every file can be read, or None.

    has_average: whether the run keeps the average of its weights.
    verbose: report on standard error which newer ones are skipped, and because of which file.
    """
    steps = [path.name.removeprefix("checkpoint-") for path in output.glob("checkpoint-*")]
    steps = sorted((int(step) for step in steps if step.isdecimal()), reverse=True)
    for checkpoint in (output / f"checkpoint-{step}" for step in steps):
        damage = describe_damage(checkpoint, has_average)
        if damage is None:
            return str(checkpoint)
        if verbose:
            print(f"warning: {damage}; {checkpoint.name} is skipped", file=sys.stderr)
    if steps and verbose:
        print(f"warning: {output} has no complete checkpoint; starting again", file=sys.stderr)
    return None


def describe_damage(checkpoint: Path, has_average: bool = True) -> str | None:
    """What is wrong with the first file that is missing or incomplete; None if all are complete.

    A run may be killed while it writes or deletes a checkpoint; a full disk truncates files, and a
    machine that dies leaves them empty or filled with zeros.
    """
    for name in (*REQUIRED_FILES, AVERAGE) if has_average else REQUIRED_FILES:
        if not (checkpoint / name).is_file():
            return f"{checkpoint / name}: missing"
    checksums = {}
    # the checksums first: the other files are compared with them
    for path in sorted(checkpoint.iterdir(), key=lambda path: (path.name != CHECKSUMS, path.name)):
        if not path.is_file():
            continue
        content = path.read_bytes()  # an OSError of the disk is no damage to the file
        try:
            if path.suffix == ".json":
                record = json.loads(content)
                checksums = record if path.name == CHECKSUMS else checksums
            elif path.suffix in (".pt", ".pth", ".bin"):
                if zipfile.ZipFile(io.BytesIO(content)).testzip():
                    raise ValueError("wrong checksum")
            elif path.suffix == ".safetensors":
                with safe_open(path, framework="pt"):  # compares the header with the size
                    pass
                if checksums.get(path.name) not in (None, compute_checksum(content)):
                    raise ValueError("wrong checksum")
        except Exception as error:  # the remains of a file may raise anything
            return f"{path}: damaged or cut off ({error})"
    return None


def compute_checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_checksums(checkpoint: Path) -> None:
    """Write the checksums of the weights beside them."""
    weights = checkpoint.glob("*.safetensors")
    checksums = {path.name: compute_checksum(path.read_bytes()) for path in weights}
    write_json(checkpoint / CHECKSUMS, checksums)


@contextmanager
def report_write_errors(folder: Path) -> Iterator[None]:
    """Turn a failed write, such as on a full disk, into an OSError of one line: safetensors and
    torch raise errors of their own."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "inline_container" not in str(error):
            raise  # torch has no other sign that it could not write a file
        free = shutil.disk_usage(folder.parent).free // 2**20
        raise OSError(
            f"{folder} cannot be written ({error}; {free:,} MB are free); make room, and give the "
            "same command again: it resumes from the last complete checkpoint"
        ) from error
