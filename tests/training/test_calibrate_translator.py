"""What a translator learns about itself: whose weights to show, and what it does not know."""

import json

import numpy as np
import pytest

from model.translation import load_translator
from tests.support.translators import SENTENCES, tiny_translator
from training.calibrate_translator import main
from training.translation.alignments import Heads, list_heads, score_alignments


@pytest.fixture
def command(tmp_path):
    tiny_translator(max_length=128).save_pretrained(tmp_path / "translator")
    sentences = [f"{sentence} {i} times." for sentence in SENTENCES for i in range(4)]
    for language in ("en", "xx", "yy"):
        (tmp_path / f"val.{language}").write_text("\n".join(sentences) + "\n")
    files = [str(tmp_path / f"val.{code}") for code in ("en", "xx", "yy")]
    return ["--data", *files, "--translator", str(tmp_path / "translator"), "--limit", "5"]


def test_what_it_chose_is_kept(command, tmp_path, capsys):
    folder = tmp_path / "translator"
    before = load_translator(folder)
    assert main(command) == 0
    printed = capsys.readouterr().out
    translator = load_translator(folder)
    config = translator.network.config
    chosen = Heads(config.alignment_layer, config.alignment_head)
    (line,) = [line for line in printed.splitlines() if line.endswith("<- chosen")]
    assert line.split("  ")[1] == str(chosen)
    sentences = (tmp_path / "val.en").read_text().splitlines()
    assert set(config.unfamiliar_below) == {"xx", "yy"}
    for code, threshold in config.unfamiliar_below.items():
        translations = before.translate_all(sentences, code)
        means = [t.log_probability / len(t.tokens) for t in translations]
        assert min(means) < threshold < np.median(means)
        again = translator.translate_all(sentences, code)
        assert [t.is_unfamiliar for t in again] == [mean < threshold for mean in means]
        assert not any(t.is_unfamiliar for t in translations), "the config did not say"
    translation = translator.translate(sentences[0], "xx")
    weights = translation.head_weights
    layers = weights if chosen.layer is None else weights[[chosen.layer]]
    heads = layers if chosen.head is None else layers[:, [chosen.head]]
    expected = heads.mean(axis=(0, 1))
    expected = expected / expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(translation.alignment, expected, atol=1e-6)


def test_the_chosen_heads_are_those_that_score_highest(command, tmp_path, monkeypatch):
    best = Heads(1, 0)
    monkeypatch.setattr(
        "training.calibrate_translator.score_alignments",
        lambda translations: {**score_alignments(translations), best: 99.0},
    )
    assert main(command) == 0
    config = json.loads((tmp_path / "translator" / "config.json").read_text())
    assert (config["alignment_layer"], config["alignment_head"]) == best
    assert best in list_heads(load_translator(tmp_path / "translator").network)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alignment_layer": 2}, "alignment_layer must be from 0 to 1, not 2"),
        ({"alignment_head": True}, "alignment_head must be from 0 to 1, not True"),
        ({"unfamiliar_below": {"xx": "low"}}, "unfamiliar_below must be numbers by language"),
        ({"unfamiliar_below": 3}, "unfamiliar_below must be numbers by language"),
    ],
)
def test_a_config_that_cannot_be_is_one_line(command, tmp_path, changes, message, capsys):
    path = tmp_path / "translator" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    assert main(command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
