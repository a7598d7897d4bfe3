"""Which checkpoint a run goes on from: the newest that can be read, of the same run."""

import argparse
import hashlib
import io
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open

from model.errors import DataError
from training.loop.learner import AVERAGE
from training.loop.run_folder import BEST, DATA, SETTINGS, write_whole

WEIGHTS = "model.safetensors"
STATE = "trainer_state.json"  # which the Trainer writes last
REQUIRED = (WEIGHTS, AVERAGE, "optimizer.pt", "scheduler.pt", STATE)
CHECKSUMS = "checksums.json"  # of the weights: safetensors has none, torch's files are zips
PATHS = ("data", "checkpoint", "encoder", "output", "cache")  # settings that may be paths


def record_settings(settings: argparse.Namespace) -> dict:
    """The settings as they are kept in the run folder: paths absolute, hub ids as they are."""
    record = vars(settings).copy()
    for name in PATHS:
        if record[name] and os.path.exists(record[name]):
            record[name] = os.path.abspath(record[name])
    return record


def check_same_run(output: Path, settings: argparse.Namespace, contents: dict) -> None:
    """Raises DataError when the folder holds a run with other settings or photos, or when that
    cannot be told: two runs must not be mixed.

    contents: what `describe_data` says of the photos.
    """
    before, now = _read_record(output / SETTINGS), record_settings(settings)
    changed = [name for name in now if not _is_same(name, before.get(name), now[name])]
    if changed:
        options = ", ".join(f"--{name.replace('_', '-')} {before.get(name)}" for name in changed)
        raise DataError(f"{output} holds a run with {options}; give the same, or another --output")
    data = output / DATA
    if data.is_file() and _read_record(data) != contents:
        raise DataError(f"{output} holds a run on other photos or captions; give another --output")


def _read_record(path: Path) -> dict:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise DataError(
            f"{path}: damaged, so nobody can tell whether this is the same run; give another "
            f"--output (--checkpoint {path.parent / BEST} goes on from the best captioner), or "
            f"delete {path.parent} to begin again"
        )
    return record


def _is_same(name: str, before: object, now: object) -> bool:
    if name == "output":  # a folder that was moved holds the same run
        return True
    if name in PATHS and before and now:
        return os.path.realpath(str(before)) == os.path.realpath(str(now))
    return before == now


def find_last_checkpoint(output: Path, verbose: bool = True) -> str | None:
    """The newest checkpoint that can be read in all its files, or None.

    verbose: say on standard error which newer ones were passed over, and for which file.
    """
    steps = [path.name.removeprefix("checkpoint-") for path in output.glob("checkpoint-*")]
    steps = sorted((int(step) for step in steps if step.isdecimal()), reverse=True)
    for checkpoint in (output / f"checkpoint-{step}" for step in steps):
        damage = describe_damage(checkpoint)
        if damage is None:
            return str(checkpoint)
        if verbose:
            print(f"warning: {damage}; {checkpoint.name} is passed over", file=sys.stderr)
    if steps and verbose:
        print(f"warning: {output} has no whole checkpoint; beginning again", file=sys.stderr)
    return None


def describe_damage(checkpoint: Path) -> str | None:
    """The first file that is missing or was not written to its end, and what is wrong with it.

    A run may be killed while it writes or deletes a checkpoint; a full disk cuts files off, and a
    machine that dies leaves them empty or with zeros in them.
    """
    for name in REQUIRED:
        if not (checkpoint / name).is_file():
            return f"{checkpoint / name}: missing"
    checksums = {}
    # the checksums first: the others are held against them
    for path in sorted(checkpoint.iterdir(), key=lambda path: (path.name != CHECKSUMS, path.name)):
        if not path.is_file():
            continue
        content = path.read_bytes()  # a disk that cannot be read is no damage to the file
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
        except Exception as error:  # of any kind: what is left of a file may look like anything
            return f"{path}: damaged or cut off ({error})"
    return None


def compute_checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_checksums(checkpoint: Path) -> None:
    """Write the checksums of the weights beside them."""
    weights = checkpoint.glob("*.safetensors")
    checksums = {path.name: compute_checksum(path.read_bytes()) for path in weights}
    write_whole(checkpoint / CHECKSUMS, json.dumps(checksums, indent=2) + "\n")


@contextmanager
def name_write_errors(folder: Path) -> Iterator[None]:
    """A full disk, in one line: safetensors and torch have errors of their own for it."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "inline_container" not in str(error):
            raise  # torch has no other sign that it could not write a file
        free = shutil.disk_usage(folder.parent).free // 2**20
        raise OSError(
            f"{folder} cannot be written ({error}; {free:,} MB are free); make room, and give the "
            "same command again: it goes on from the last whole checkpoint"
        ) from error
