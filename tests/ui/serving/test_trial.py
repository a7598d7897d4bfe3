"""A stranger's captioner is tried in a process of its own, in limits of memory and time."""

import json
import os
import shutil

import pytest

from model import CheckpointError, load
from tests.support.hub_server import Hub, make_environment, serve_hub
from tests.support.tiny import draw_photo
from ui.serving import trial
from ui.serving.trial import try_checkpoint

pytestmark = pytest.mark.slow  # each starts a program

DOUBLING = {"type": "Replace", "pattern": {"String": "A"}, "content": "AA"}
NESTED = {
    "type": "Split",
    "pattern": {"Regex": "(x+x+)+y"},
    "behavior": "Isolated",
    "invert": False,
}


@pytest.fixture
def folder(checkpoint, tmp_path):
    shutil.copytree(checkpoint, tmp_path / "strange")
    return tmp_path / "strange"


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_one_that_keeps_within_the_limits_is_given_back(folder):
    assert try_checkpoint(folder) == folder
    assert load(folder).network


@pytest.mark.parametrize(
    "file, values",
    [
        ("tokenizer.json", {"normalizer": {"type": "Sequence", "normalizers": [DOUBLING] * 40}}),
        ("tokenizer.json", {"pre_tokenizer": NESTED}),
        (
            "preprocessor_config.json",
            {"image_processor_type": "DPTImageProcessor", "size_divisor": 30_000, "do_pad": True},
        ),
    ],
    ids=["a text that doubles", "a pattern without end", "a photo without end"],
)
def test_one_that_asks_for_too_much_is_refused(folder, monkeypatch, file, values):
    monkeypatch.setattr(trial, "MAX_SECONDS", 60.0)
    change(folder / file, **values)
    with pytest.raises(CheckpointError) as refusal:
        try_checkpoint(folder)
    assert str(refusal.value).startswith(str(folder)) and "\n" not in str(refusal.value)


def test_what_is_wrong_with_it_is_told(folder):
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    with pytest.raises(CheckpointError, match="config.json: not a plain file"):
        try_checkpoint(folder)


def test_one_of_the_hub_is_fetched_before_it_is_tried(checkpoint, folder, tmp_path, monkeypatch):
    change(folder / "tokenizer.json", pre_tokenizer=NESTED)
    folders = {"some/good": checkpoint, "some/strange": folder, "some/large": checkpoint}
    folders["some/vague"] = checkpoint
    sizes = {"some/large": trial.MAX_DOWNLOAD, "some/vague": None}
    with serve_hub(folders, sizes=sizes) as address:
        for name, value in make_environment(address, tmp_path / "cache").items():
            monkeypatch.setenv(name, value)
        fetched = try_checkpoint("some/good")
        assert fetched.is_relative_to(tmp_path / "cache")
        photo = draw_photo()
        assert load(fetched).caption(photo).text == load(checkpoint).caption(photo).text
        with pytest.raises(CheckpointError, match="^some/strange: asks for more memory or time"):
            try_checkpoint("some/strange")
        Hub.fetched.clear()
        with pytest.raises(
            CheckpointError, match="^some/large: [0-9]+ GB of files, of which at most 8"
        ):
            try_checkpoint("some/large")
        with pytest.raises(CheckpointError, match="^some/vague: the hub does not say now how"):
            try_checkpoint("some/vague")
        assert not Hub.fetched, "nothing of it"
        with pytest.raises(CheckpointError, match="^some/none: the hub has no such model"):
            try_checkpoint("some/none")
    with pytest.raises(CheckpointError, match="^some/good: the hub does not say now how large"):
        try_checkpoint("some/good")  # nobody answers
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert try_checkpoint("some/good") == fetched, "what is here already"
