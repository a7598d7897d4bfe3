"""The examples of the README and the walk-through of docs/training.md, line by line as they stand
there; the walk-through on fewer pictures."""

import importlib
import json
import re
import shlex
from pathlib import Path

import pytest

from model import load
from tests.support.paths import ROOT

README, TRAINING = ROOT / "README.md", ROOT / "docs" / "training.md"
SMALLER = {"training.draw": ["--count", "100"]}


def read_blocks(document: Path, heading: str, language: str) -> list[str]:
    """The code in the section of a document that has this heading."""
    text = document.read_text(encoding="utf-8")
    section = re.split(r"^## ", text.split(f"## {heading}\n")[1], flags=re.MULTILINE)[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def read_commands(document: Path, heading: str) -> list[list[str]]:
    """The words of each command in that section."""
    blocks = read_blocks(document, heading, "sh")
    lines = "".join(blocks).replace("\\\n", "").splitlines()
    return [shlex.split(line, comments=True) for line in lines]


def run_module(words: list[str]) -> int:
    """Run `python -m NAME ...` in this process; returns its exit status."""
    python, dash_m, name, *arguments = words
    assert (python, dash_m) == ("python", "-m")
    module = importlib.import_module("model.__main__" if name == "model" else name)
    return module.main(arguments + SMALLER.get(name, []))


@pytest.mark.slow
def test_the_examples_of_the_readme_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    commands = read_commands(README, "Three examples")
    assert len(commands) == 4
    for words in commands:
        assert run_module(words) == 0, capsys.readouterr().err
    photos = list((ROOT / "assets" / "examples").glob("*.jpg"))
    assert len(capsys.readouterr().out.splitlines()) >= len(photos)
    rows = Path("captions.csv").read_text(encoding="utf-8-sig").splitlines()
    assert len(rows) == 1 + len(photos)
    assert Path("maps.png").is_file()
    (example,) = read_blocks(README, "Three examples", "python")
    exec(example, {})
    assert "[" in capsys.readouterr().out


@pytest.mark.slow
def test_from_drawn_shapes_to_a_captioner_of_shapes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    *commands, page = read_commands(TRAINING, "Ten minutes with drawn shapes")
    # the page has tests of its own
    assert page == ["CAPTIONLENS_CHECKPOINT=captioners/shapes", "python", "app.py"]
    for words in commands:
        assert run_module(words) == 0, capsys.readouterr().err
    steps = ["draw", "check", "train", "evaluate", "export"]
    assert [words[2] for words in commands] == [f"training.{step}" for step in steps] + ["model"]
    last_line = capsys.readouterr().out.splitlines()[-1]
    assert last_line.startswith("shapes/validation/00000.png: A large")
    scores = json.loads((tmp_path / "scores.json").read_text())
    captions = scores["captions"]
    assert len(captions) == 20 and len(set(captions.values())) > 10
    assert all(caption.startswith("A large ") for caption in captions.values())
    # thirty steps do not make them exact, but they are about the pictures
    assert scores["CIDEr"] > 2 * scores["no_image"]["CIDEr"]
    card = (tmp_path / "captioners" / "shapes" / "README.md").read_text()
    assert f"| CIDEr | {scores['CIDEr']:.1f} |" in card and "80 photos with 80 captions" in card
    assert load("captioners/shapes").caption("shapes/train/00000.png").text.startswith("A large ")
