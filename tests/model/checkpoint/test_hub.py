"""Names of checkpoints, and the hub: a small one is served here, to a process of its own."""

import os
import shutil
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from huggingface_hub import snapshot_download

from model import Captioner, CheckpointError, load
from model.checkpoint.hub import PICKLED, WEIGHTS, find_checkpoint_folder, parse_hub_address
from tests.support.hub import encoder_decoder, save
from tests.support.hub_server import Hub, make_environment, serve_hub
from tests.support.lfs import POINTER

# loads each name in turn, in one process: imports take seconds
PROGRAM = """
import sys
from model.__main__ import main
for name in sys.argv[1:]:
    print(name, main(["info", "--checkpoint", *name.split(",")]), flush=True)
"""


def run_info(names, cache, endpoint):
    """Status and error line of `info` for each name."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *names],
        env=os.environ | make_environment(endpoint, cache),
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in run.stderr, run.stderr
    statuses = [line.split() for line in run.stdout.splitlines() if line.split()[0] in names]
    errors = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    return {name: int(status) for name, status in statuses}, errors


@pytest.mark.slow
def test_a_hub(tmp_path):
    """Downloaded with what is needed alone, and read offline afterwards; the rest says why not."""
    model, tokenizer = encoder_decoder()
    good = save(tmp_path / "good", model, tokenizer)
    (good / "tf_model.h5").write_bytes(b"another program's weights")
    pickled = shutil.copytree(good, tmp_path / "pickled")
    (pickled / WEIGHTS).unlink()
    torch.save(model.state_dict(), pickled / PICKLED)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "bert", "architectures": ["BertModel"]}')
    (other / WEIGHTS).write_bytes(b"never fetched")
    empty = tmp_path / "empty"
    empty.mkdir()
    folders = {"some/good": good, "some/pickled": pickled, "some/gated": good}
    folders |= {"some/other": other, "some/empty": empty}
    names = ["some/good", "some/pickled", "some/gated", "some/other", "some/empty", "some/none"]
    names.append("some/pickled,--allow-pickle")
    with serve_hub(folders, gated={"some/gated"}) as address:
        statuses, errors = run_info(names, tmp_path / "cache", address)
    assert list(statuses.values()) == [0, 1, 1, 1, 1, 1, 0], errors
    for error, message in zip(
        errors,
        [
            "some/pickled: its weights are pickled",
            "some/gated: its owners ask you to accept terms at https://huggingface.co/some/gated",
            "some/other: its model_type is 'bert' (BertModel), not a captioner",
            "some/empty: there is no config.json",
            "some/none: the hub has no such model, or it is private",
        ],
        strict=True,
    ):
        assert error.startswith(f"error: {message}")
    assert Hub.fetched.count(WEIGHTS) == 1 and "tf_model.h5" not in Hub.fetched

    # once it is gone
    statuses, (error,) = run_info(["some/good", "some/none"], tmp_path / "cache", address)
    assert statuses == {"some/good": 0, "some/none": 1}
    assert "hf download some/none" in error


def test_a_slip_of_ours_is_no_missing_network(tmp_path, monkeypatch):
    """What looks into a repository's settings runs between two questions to the hub."""
    (tmp_path / "config.json").write_text("{}")
    held = SimpleNamespace(siblings=[SimpleNamespace(rfilename="config.json")])
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: held)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path))

    def slip(folder):
        raise ValueError("a slip")

    with pytest.raises(ValueError, match="a slip"):
        find_checkpoint_folder("some/one", check=slip)


@pytest.mark.parametrize(
    "address, expected",
    [
        ("https://huggingface.co/some/one", ("models", "some/one", None)),
        ("http://www.huggingface.co/some/one.v-2/", ("models", "some/one.v-2", None)),
        ("https://huggingface.co/some/one/tree/main", ("models", "some/one", "main")),
        ("https://hf.co/some/one/tree/main/deep?not=1#x", ("models", "some/one", "main")),
        ("HF.co/some/one", ("models", "some/one", None)),
        (" huggingface.co/models/some/one.git ", ("models", "some/one", None)),
        ("hf://some/one", ("models", "some/one", None)),
        ("huggingface.co/some/one/blob/v1.0/config.json", ("models", "some/one", "v1.0")),
        ("huggingface.co/some/one/tree/refs%2Fpr%2F1", ("models", "some/one", "refs/pr/1")),
        ("https://huggingface.co/datasets/some/one/viewer/a", ("datasets", "some/one", None)),
        ("hf.co/spaces/some/one", ("spaces", "some/one", None)),
        ("https://huggingface.co/datasets/one", None),
        ("https://example.com/some/one", None),
        ("https://nothf.co/some/one", None),
        ("some/one", None),
        ("/some/huggingface.co/some/one", None),
    ],
)
def test_addresses_of_the_hub(address, expected):
    assert parse_hub_address(address) == expected


@pytest.mark.parametrize(
    "name, message",
    [
        ("https://huggingface.co/datasets/some/one", "a dataset of the hub, not a captioner"),
        ("hf.co/spaces/some/one", "a Space of the hub, not a captioner"),
        ("hf.co/some/one/tree/v2", "hf download some/one --revision v2"),
        ("hf.co/nobody/nothing", "^nobody/nothing: neither a folder nor a model"),
    ],
)
def test_addresses_that_are_no_captioner(name, message):
    with pytest.raises(CheckpointError, match=message):
        load(name)


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "preprocessor_config.json", WEIGHTS]
)
def test_a_checkpoint_that_git_lfs_has_not_fetched(checkpoint, tmp_path, name):
    folder = shutil.copytree(checkpoint, tmp_path / "one")
    (folder / name).write_bytes(POINTER)
    for load_captioner in (load, Captioner.from_pretrained):
        with pytest.raises(CheckpointError) as caught:
            load_captioner(folder)
        assert str(caught.value).startswith(f"{folder / name}: a Git LFS pointer")
        assert "git lfs pull" in str(caught.value)


def test_a_folder_under_nearly_the_same_name(tmp_path):
    (tmp_path / "Mine").mkdir()
    with pytest.raises(CheckpointError, match=f"did you mean {tmp_path}/Mine"):
        load(tmp_path / "mine")


@pytest.mark.parametrize(
    "name", ["nothing", "a/b..c", "a/b--c", "a/b.git", "-a/b", "a/" + "b" * 97, "a" * 300, "a\0b"]
)
def test_what_cannot_be_a_name(name):
    with pytest.raises(CheckpointError, match="no such checkpoint folder"):
        load(name)


def test_a_cached_model_goes_by_its_name(tmp_path, monkeypatch):
    """Where this machine keeps its copy is nobody's business."""
    repository = tmp_path / "models--some--one"
    snapshot = save(repository / "snapshots" / "abc", *encoder_decoder())
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", partial(snapshot_download, cache_dir=tmp_path)
    )
    for name in ("some/one", "https://huggingface.co/some/one/tree/main", "hf.co/some/one/"):
        assert load(name).name == "some/one"
    (snapshot / WEIGHTS).unlink()
    with pytest.raises(CheckpointError) as caught:
        load("some/one")
    assert str(caught.value).startswith("some/one") and str(tmp_path) not in str(caught.value)
