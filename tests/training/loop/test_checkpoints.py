"""A run goes on from the newest checkpoint that is whole, if it is the same run."""

import json
import shutil
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import save_file

from model.errors import DataError, OptionError
from training.loop.checkpoints import (
    CHECKSUMS,
    REQUIRED_FILES,
    check_same_run,
    describe_damage,
    find_last_checkpoint,
    record_settings,
    report_write_errors,
    write_checksums,
)
from training.loop.run_folder import AVERAGE, DATA, SETTINGS
from training.loop.trainer import restore_checkpoint
from training.settings import parse_settings

FILES = (*REQUIRED_FILES, AVERAGE, "rng_state.pth", "training_args.bin", CHECKSUMS)


@pytest.fixture
def output(tmp_path):
    """A run folder with checkpoints of steps 2 and 10, as the trainer writes them."""
    for step in (2, 10):
        folder = tmp_path / "run" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        for name in FILES:
            if name.endswith(".safetensors"):
                save_file({"weight": torch.randn(40, 50)}, folder / name)
            elif not name.endswith(".json"):
                torch.save({"state": torch.randn(40, 50)}, folder / name)
        write_checksums(folder)
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return tmp_path / "run"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: b"",
        lambda content: bytes(len(content)),
        lambda content: content[: len(content) // 2].ljust(len(content), b"\0"),
    ],
    ids=["half", "a byte less", "empty", "zeros", "zeros at the end"],
)
def test_the_checkpoint_before_a_damaged_one_is_taken(output, capsys, name, damage):
    file = output / "checkpoint-10" / name
    if name.endswith(".json"):
        file.write_text(file.read_text().strip())  # a final line break is no loss
    assert find_last_checkpoint(output) == str(output / "checkpoint-10")
    file.write_bytes(damage(file.read_bytes()))
    assert capsys.readouterr().err == ""
    assert find_last_checkpoint(output) == str(output / "checkpoint-2")
    printed = capsys.readouterr().err
    assert printed.startswith(f"warning: {file}: damaged or cut off (") and printed.count("\n") == 1


def test_a_missing_file_and_no_whole_checkpoint(output, capsys):
    (output / "checkpoint-2" / "optimizer.pt").unlink()
    (output / "checkpoint-10" / "scheduler.pt").unlink()
    (output / "checkpoint-10-notes").mkdir()  # is none
    assert find_last_checkpoint(output) is None
    first, second, end = capsys.readouterr().err.splitlines()
    assert "checkpoint-10/scheduler.pt: missing" in first
    assert "checkpoint-2/optimizer.pt: missing" in second
    assert end == f"warning: {output} has no complete checkpoint; starting again"
    assert find_last_checkpoint(output, verbose=False) is None
    assert capsys.readouterr().err == ""


def test_checkpoints_from_before_there_were_checksums(output):
    (output / "checkpoint-10" / CHECKSUMS).unlink()
    assert describe_damage(output / "checkpoint-10") is None


def test_a_file_that_cannot_be_read_is_not_called_damaged(output, monkeypatch):
    def fail(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", fail)
    with pytest.raises(PermissionError):
        find_last_checkpoint(output)


# --- the same run --------------------------------------------------------------------------------


def settings_for(data, output, *more):
    return parse_settings(["--data", str(data), "--output", str(output), *more])


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "run", "captioner"):
        (tmp_path / name).mkdir()
    settings = settings_for("photos", "run", "--checkpoint", "captioner")
    (tmp_path / "run" / SETTINGS).write_text(json.dumps(record_settings(settings)))
    (tmp_path / "run" / DATA).write_text(json.dumps({"train": 1}))
    return tmp_path / "run"


def test_a_path_is_the_same_however_it_is_written(run, tmp_path, monkeypatch):
    absolute = settings_for(tmp_path / "photos", run, "--checkpoint", str(tmp_path / "captioner"))
    check_same_run(run, record_settings(absolute), {"train": 1})
    relative = settings_for("./photos/", "run", "--checkpoint", "captioner")
    check_same_run(run, record_settings(relative), {"train": 1})
    (run / SETTINGS).write_text(
        json.dumps(asdict(absolute) | {"data": "photos"})
    )  # of an older run
    check_same_run(run, record_settings(absolute), {"train": 1})
    monkeypatch.chdir(run)
    shutil.move(run, tmp_path / "moved")
    moved = settings_for("../photos", "../moved", "--checkpoint", "../captioner")
    (tmp_path / "moved" / SETTINGS).write_text(json.dumps(record_settings(absolute)))
    check_same_run(tmp_path / "moved", record_settings(moved), {"train": 1})


def test_another_run_is_refused(run, tmp_path):
    (tmp_path / "others").mkdir()
    checkpoint = ("--checkpoint", "captioner")
    other = settings_for("others", "run", *checkpoint, "--rate", "0.5")
    message = f"a run with --data {tmp_path / 'photos'}, --rate 0.0003; give the same"
    with pytest.raises(OptionError, match=message):
        check_same_run(run, record_settings(other), {"train": 1})
    with pytest.raises(OptionError, match="a run on other photos or captions"):
        check_same_run(
            run, record_settings(settings_for("photos", "run", *checkpoint)), {"train": 2}
        )


@pytest.mark.parametrize("name", [SETTINGS, DATA])
@pytest.mark.parametrize("content", [b"", b'{"data": "ph', bytes(60), b"[]"])
def test_a_damaged_record_is_one_line(run, name, content):
    (run / name).write_bytes(content)
    settings = settings_for("photos", "run", "--checkpoint", "captioner")
    with pytest.raises(DataError, match=f"{name}: damaged, .* give another --output") as error:
        check_same_run(run, record_settings(settings), {"train": 1})
    assert "\n" not in str(error.value)


def test_a_hub_id_is_kept_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert record_settings(settings_for("owner/photos", "run"))["data"] == "owner/photos"


# --- a run that died -----------------------------------------------------------------------------


def test_the_best_captioner_comes_back(tmp_path):
    """Killed between the two renames of `replace_folder`."""
    best, old = tmp_path / "best", tmp_path / "best.old"
    old.mkdir()
    (old / "config.json").touch()
    restore_checkpoint(best)
    assert (best / "config.json").is_file() and not old.exists()
    old.mkdir()
    restore_checkpoint(best)  # killed after them
    assert (best / "config.json").is_file()


def test_a_full_disk_is_one_line(tmp_path):
    folder = tmp_path / "run"
    for error in (
        OSError(28, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
    ):
        with pytest.raises(OSError, match=f"{folder} cannot be written .* MB are free.; make room"):
            with report_write_errors(folder):
                raise error
    with pytest.raises(RuntimeError, match="a mistake of ours"), report_write_errors(folder):
        raise RuntimeError("a mistake of ours")
