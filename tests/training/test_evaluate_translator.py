"""Scores of translations, against the formula worked out by hand."""

import json

import pytest

from model.translation import load_translator
from tests.support.translators import SENTENCES, tiny_translator
from training.evaluate_translator import main
from training.translation.scores import describe_scores


def test_scores_of_a_known_pair():
    same = describe_scores(SENTENCES, SENTENCES)
    assert same["bleu"] == pytest.approx(100) and same["chrf"] == pytest.approx(100)
    assert "case:mixed" in same["bleu_signature"] and "tok:13a" in same["bleu_signature"]
    # 1-grams 5/6, 2-grams 3/5, 3-grams 2/4, 4-grams 1/3 (Papineni et al. 2002, eq. 3), no brevity
    scores = describe_scores(["The cat runs on grass."], ["The dog runs on grass."])
    assert scores["bleu"] == pytest.approx(100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25)


def test_what_is_written_is_what_was_scored(tmp_path, capsys):
    tiny_translator().save_pretrained(tmp_path / "translator")
    translator = load_translator(tmp_path / "translator")
    for language in ("en", "xx", "yy"):
        (tmp_path / f"test.{language}").write_text("\n".join(SENTENCES) + "\n")
    command = ["--data", *(str(tmp_path / f"test.{code}") for code in ("en", "xx", "yy"))]
    command += ["--translator", str(tmp_path / "translator"), "--num-beams", "2"]
    output = tmp_path / "out.json"
    assert main([*command, "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    result = json.loads(output.read_text(encoding="utf-8"))
    assert list(result) == ["xx", "yy"]
    for language, scores in result.items():
        translations = translator.translate_all(SENTENCES, language, num_beams=2)
        assert scores["translations"] == [translation.text for translation in translations]
        assert f"{language}: BLEU {scores['bleu']:.1f}" in printed
        assert "tok:13a" in scores["bleu_signature"]
    (tmp_path / "test.zz").write_text("\n".join(SENTENCES) + "\n")
    assert main([*command[:2], str(tmp_path / "test.zz"), *command[4:]]) == 1
    assert "no language 'zz'; this translator writes xx, yy" in capsys.readouterr().err
    long = "a dog " * 100
    (tmp_path / "test.en").write_text("\n".join([*SENTENCES[:2], long]) + "\n")
    assert main(command) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: en, {long[:40]!r}: the sentence has ") and err.count("\n") == 1
