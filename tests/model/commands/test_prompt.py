"""`--prompt`: what a captioner that takes one is asked."""

import json

import pytest

from model import load
from tests.support.florence_hub import save_florence2


@pytest.fixture(scope="module")
def florence2(tmp_path_factory):
    folder = tmp_path_factory.mktemp("florence2")
    save_florence2(folder)
    return folder


def test_caption_and_explain_ask_it(run, photos, florence2, tmp_path):
    photo = photos / "a.jpg"
    expected = load(florence2).with_prompt("Name the colours.").caption(photo).text
    assert expected != load(florence2).caption(photo).text
    asking = ["--checkpoint", florence2, "--prompt", "Name the colours."]
    status, out, _ = run("caption", photo, *asking, "--format", "jsonl")
    record = json.loads(out)
    assert status == 0
    assert (record["caption"], record["prompt"]) == (expected, "Name the colours.")
    file = tmp_path / "maps.json"
    assert run("explain", photo, *asking, "--output", file)[0] == 0
    record = json.loads(file.read_text(encoding="utf-8"))
    assert (record["text"], record["prompt"]) == (expected, "Name the colours.")


def test_compare_asks_those_that_take_one(run, photos, florence2, checkpoint):
    compare = ["compare", photos / "a.jpg", "--prompt", "Name the colours.", "--checkpoints"]
    status, out, _ = run(*compare, florence2, checkpoint)
    assert status == 0 and str(florence2) in out
    status, _, err = run(*compare, "shipped", checkpoint)
    assert status == 1 and "none of these captioners takes a prompt" in err


def test_one_that_takes_none_says_so(run, photos, checkpoint, tmp_path):
    status, _, err = run(
        "caption", photos / "a.jpg", "--checkpoint", checkpoint, "--prompt", "Why?"
    )
    assert status == 1 and "takes no prompt" in err
    pytest.importorskip("ray")
    ray = ["--prompt", "Why?", "--engine", "ray", "--output", tmp_path / "out"]
    status, _, err = run("caption", photos / "a.jpg", *ray)
    assert status == 1 and "takes no prompt" in err and not (tmp_path / "out").exists()
