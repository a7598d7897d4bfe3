"""The walk-through of training/README.md, line by line as it stands there, on fewer pictures."""

import importlib
import json
import shlex
from pathlib import Path

import pytest

from model import load

README = Path(__file__).parent.parent / "training" / "README.md"
SMALLER = {"training.draw": ["--count", "100"]}


def commands():
    section = README.read_text(encoding="utf-8").split("## Ten minutes")[1]
    block = section.split("```sh\n")[1].split("```")[0].replace("\\\n", "")
    return [shlex.split(line) for line in block.splitlines()]


@pytest.mark.slow
def test_from_drawn_shapes_to_a_captioner_of_shapes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ran = []
    for words in commands():
        if words[0] != "python":  # the page has tests of its own
            assert words == ["CAPTIONLENS_CHECKPOINT=captioners/shapes", "python", "app.py"]
            continue
        assert words[1] == "-m"
        name = "model.__main__" if words[2] == "model" else words[2]
        main = importlib.import_module(name).main
        assert main(words[3:] + SMALLER.get(name, [])) == 0, capsys.readouterr().err
        ran.append(name)
    steps = ["draw", "inspect", "train", "evaluate", "export"]
    assert ran == [f"training.{step}" for step in steps] + ["model.__main__"]
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("shapes/validation/00000.png: A large")
    scores = json.loads((tmp_path / "scores.json").read_text())
    captions = scores["captions"]
    assert len(captions) == 20 and len(set(captions.values())) > 10
    assert all(caption.startswith("A large ") for caption in captions.values())
    # thirty steps do not make them exact, but they are about the pictures
    assert scores["CIDEr"] > 2 * scores["no_image"]["CIDEr"]
    card = (tmp_path / "captioners" / "shapes" / "README.md").read_text()
    assert f"| CIDEr | {scores['CIDEr']:.1f} |" in card and "80 photos with 80 captions" in card
    assert load("captioners/shapes").caption("shapes/train/00000.png").text.startswith("A large ")
