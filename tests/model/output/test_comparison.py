"""Captioners side by side: the words they share, the command, the figure and the tab."""

import types

import numpy as np
import pytest
from PIL import Image

from model import load
from model.__main__ import main
from model.output.comparison import (
    MAX_WORDS,
    ComparedCaption,
    choose_words,
    explain_for_comparison,
    find_shared_words,
)
from model.output.figures import draw_comparison_sheet
from tests.support.tiny import draw_photo, tiny_captioner
from ui.tabs.compare import render_comparison


def side(text: str, gains=None, name: str = "one") -> ComparedCaption:
    words = [types.SimpleNamespace(text=word, probability=0.5) for word in text.split()]
    explanation = types.SimpleNamespace(
        text=text, words=words, gains=gains or [0.0] * len(words), log_probability=-2.0
    )
    return ComparedCaption(name, explanation, [np.eye(4, dtype=np.float32)] * len(words), 0.25)


def test_words_that_all_say():
    """Whatever their case, place and marks; not "a" or "in"; of a word said twice the first."""
    sides = [side("A man in red on red sand."), side("In the sand a Red man sits")]
    assert find_shared_words(sides) == [[1, 3, 6], [5, 4, 2]]
    assert choose_words(sides).description == "words in all of them"


def test_of_many_words_those_that_owe_most_to_the_photo():
    words = [f"w{i}" for i in range(MAX_WORDS + 2)]
    gains = [float(i) for i in range(len(words))]
    places = find_shared_words([side(" ".join(words), gains), side(" ".join(words))])
    assert places == [list(range(2, MAX_WORDS + 2))] * 2


def test_no_word_in_common():
    sides = [side("a dog runs", [0, 2.0, 1]), side("the cat sleeps", [0, 1.0, 3])]
    places, what = choose_words(sides)
    assert places == [[1], [2]] and what.startswith("no word in common")


def test_what_a_captioner_made_of_a_photo():
    captioner, photo = tiny_captioner(), draw_photo()
    found, caption = explain_for_comparison(captioner, photo), captioner.caption(photo)
    assert found.explanation.text == caption.text and len(found.maps) == len(caption.words)
    assert found.seconds > 0
    per_word = np.exp(caption.log_probability / len(caption.words))
    assert found.summary() == f"{found.seconds:.2f} s, {per_word:.0%} a word"
    silent = types.SimpleNamespace(
        name="silent",
        encode=captioner.encode,
        caption=lambda features, **options: types.SimpleNamespace(words=[]),
    )
    with pytest.raises(ValueError, match="^silent: .* nothing to say"):
        explain_for_comparison(silent, photo)


def test_the_sheet_has_a_row_for_each():
    """The same photo and map give the same row, another map another."""
    photo = Image.new("RGB", (200, 100), "white")
    sides = [side("a dog"), side("the dog", name="two"), side("the dog", name="two")]
    sides[2].maps[1] = np.eye(4, dtype=np.float32)[::-1]
    sheet = draw_comparison_sheet(photo, sides, {"method": "gradient"}, cell_side=100)
    pixels = np.asarray(sheet.convert("L")).astype(int)
    height = 19 + 50 + 24 + 10  # heading, picture, its text, gap
    rows = [pixels[10 + i * height + 19 :][:50, 120:220] for i in range(3)]
    assert (rows[0] == rows[1]).all() and (rows[1] != rows[2]).any()
    assert rows[0].min() < 200 < rows[0].max()


def test_the_tab_shows_both_columns_and_no_markup_of_a_name():
    sides = [side("a <b>dog</b>", name="<i>x</i>"), side("the <b>dog</b>", name="two")]
    shown = render_comparison(draw_photo(), sides)
    assert shown.count("<figure>") == 2 and shown.count("<section>") == 2
    assert "<b>" not in shown and "<i>" not in shown and "0.25 s" in shown


@pytest.fixture
def photos(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        draw_photo().save(tmp_path / folder / "photo.png")
    (tmp_path / "x" / "broken.jpg").write_bytes(b"no photo")
    return [str(tmp_path / "x"), str(tmp_path / "y")]


def test_the_command(photos, tmp_path, capsys):
    """A photo that cannot be read stops nothing; photos of one name get figures of their own."""
    for seed, name in enumerate("ab"):
        tiny_captioner(seed=seed).save_pretrained(tmp_path / name)
    names = [str(tmp_path / "a"), str(tmp_path / "b")]
    figures = tmp_path / "figures"
    assert main(["compare", *photos, "--checkpoints", *names, "--output", str(figures)]) == 1
    output = capsys.readouterr()
    assert "broken.jpg" in output.err
    for name in names:
        text = load(name).caption(tmp_path / "x" / "photo.png").text
        lines = [line for line in output.out.splitlines() if line.startswith(f"  {name} (")]
        assert len(lines) == 2 and all(line.endswith(f": {text}") for line in lines)
    assert sorted(p.name for p in figures.iterdir()) == ["photo-2.png", "photo.png"]


@pytest.mark.parametrize("names", [["shipped"], ["shipped", "shipped"]])
def test_two_are_needed(names, capsys):
    assert main(["compare", "photo.jpg", "--checkpoints", *names]) == 1
    assert "at least two different ones" in capsys.readouterr().err


def test_a_space_with_one_captioner_has_nothing_to_compare(monkeypatch):
    from ui.serving.captioners import Captioners

    monkeypatch.delenv("CAPTIONLENS_CHECKPOINT", raising=False)
    monkeypatch.setattr("pathlib.Path.glob", lambda self, pattern: iter(()))
    monkeypatch.setenv("CAPTIONLENS_ALLOW_HUB", "1")
    assert Captioners().has_choice
    monkeypatch.setenv("SPACE_ID", "me/space")
    assert not Captioners().has_choice
    monkeypatch.setenv("CAPTIONLENS_CHECKPOINT", "some/one")
    assert Captioners().has_choice
