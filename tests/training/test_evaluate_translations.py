"""`python -m training.evaluate --language`: captions scored in another language too."""

import json

import pytest

from model.translation import load_translator
from tests.support.translators import tiny_translator
from training.data import read_split
from training.evaluate import main
from training.evaluation.metrics import score_captions
from training.evaluation.translated import evaluate_translations


@pytest.fixture
def command(flickr, checkpoint, tmp_path):
    tiny_translator(max_length=128).save_pretrained(tmp_path / "translator")
    command = ["--data", str(flickr), "--split", "train", "--checkpoint", str(checkpoint)]
    return [*command, "--translator", str(tmp_path / "translator"), "--num-beams", "1"]


def test_translations_are_scored_beside_the_captions(command, flickr, no_java, tmp_path, capsys):
    names = [item.name for item in read_split(str(flickr), "train", None)]
    references = {name: [f"Ein Hund {i}.", "Zwei Kinder."] for i, name in enumerate(names[1:])}
    lines = [
        f"{name}#{i}\t{text}\n"
        for name, texts in references.items()
        for i, text in enumerate(texts)
    ]
    (tmp_path / "german.txt").write_text("".join([*lines, "elsewhere.jpg#0\tNichts.\n"]))
    output = tmp_path / "scores.json"
    more = ["--language", "xx", "--references", str(tmp_path / "german.txt")]
    assert main([*command, *more, "--output", str(output)]) == 0
    result = json.loads(output.read_text())
    translated = result["translated"]
    translator = load_translator(tmp_path / "translator")
    expected = {n: translator.translate(result["captions"][n], "xx").text for n in names[1:]}
    assert translated["captions"] == expected and translated["num_images"] == len(names) - 1
    points = score_captions(expected, references).points
    assert {name: translated[name] for name in points} == pytest.approx(points)
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("translated, xx")]
    assert f"CIDEr {points['CIDEr']:.1f}" in line


def test_a_translation_that_is_right_has_the_highest_score(monkeypatch):
    translator = tiny_translator()
    captions = {"a.jpg": "A dog.", "b.jpg": "Two children play.", "c.jpg": "dog " * 99}
    right = {name: [translator.translate(captions[name], "xx").text] for name in ("a.jpg", "b.jpg")}
    record = evaluate_translations(captions, {**right, "c.jpg": ["Etwas."]}, translator, "xx")
    assert record["captions"] == {**{n: texts[0] for n, texts in right.items()}, "c.jpg": ""}
    assert evaluate_translations(captions, right, translator, "xx")["BLEU-1"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--language", "xx"], "--language and --references need each other"),
        (["--language", "xx", "--references", "/nowhere"], "/nowhere"),
        (["--language", "zz", "--references", "{file}"], "no language 'zz'"),
        (["--language", "xx", "--references", "{file}"], "none of the photos"),
    ],
)
def test_what_cannot_be_is_one_line(command, tmp_path, arguments, message, capsys):
    (tmp_path / "other.txt").write_text("elsewhere.jpg#0\tNichts.\n")
    assert main([*command, *(a.format(file=tmp_path / "other.txt") for a in arguments)]) == 1
    assert message in capsys.readouterr().err.splitlines()[-1]
