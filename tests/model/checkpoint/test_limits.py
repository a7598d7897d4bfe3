"""Files of a checkpoint are weighed before they are read."""

import os
import shutil

import pytest

from model import CheckpointError, load
from model.checkpoint.limits import weigh_files


@pytest.fixture
def folder(checkpoint, tmp_path):
    return shutil.copytree(checkpoint, tmp_path / "checkpoint")


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "preprocessor_config.json", "model.safetensors"]
)
def test_a_pipe_and_a_device_are_not_read(folder, name):
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        (folder / name).unlink()
        make(folder / name)
        with pytest.raises(CheckpointError, match=f"{name}: not a plain file"):
            load(folder)


def test_a_file_that_is_larger_than_any_captioners(folder):
    for name, size in (("config.json", 11), ("tokenizer.json", 101)):
        with (folder / name).open("r+b") as file:
            file.truncate(size * 10**6)  # takes no room on the disk
        with pytest.raises(CheckpointError, match=f"{name}: larger than {size - 1}"):
            load(folder)
        (folder / name).unlink()


def test_a_header_of_more_tensors_than_any_captioner_has(folder):
    path = folder / "familiarity.safetensors"
    path.write_bytes((30_000_000).to_bytes(8, "little") + b"{}")
    with pytest.raises(CheckpointError, match="familiarity.safetensors: its header is larger"):
        load(folder)


def test_what_others_keep_beside_it_is_of_no_account(folder):
    os.mkfifo(folder / "notes.md")
    (folder / "gone.json").symlink_to(folder / "nothing")
    weigh_files(folder)
