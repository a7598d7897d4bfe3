"""`python -m model translate`: lines in, lines out, and mistakes in one line."""

import io
import json
from pathlib import Path

import pytest

from model.__main__ import main
from model.wording import UNFAMILIAR_SENTENCE
from tests.support.translators import SENTENCES, tiny_translator


@pytest.fixture
def folder(tmp_path):
    tiny_translator().save_pretrained(tmp_path / "translator")
    return str(tmp_path / "translator")


def test_sentences_become_lines_and_a_record(folder, tmp_path, capsys):
    output = tmp_path / "out.json"
    command = ["translate", *SENTENCES, "--to", "xx", "--translator", folder, "--num-beams", "2"]
    assert main([*command, "--output", str(output)]) == 0
    records = json.loads(output.read_text(encoding="utf-8"))
    assert capsys.readouterr().out == "".join(f"{record['translation']}\n" for record in records)
    assert [record["source"] for record in records] == list(SENTENCES)
    for record in records:
        assert len(record["alignment"]) == len(record["words"])
        for row in record["alignment"]:
            assert len(row) == len(record["source_words"])
            assert sum(row) == pytest.approx(1, abs=1e-5)


def test_standard_input_is_read_where_no_sentence_is_given(folder, capsys, monkeypatch):
    main(["translate", "A dog.", "A cat.", "--to", "yy", "--translator", folder])
    expected = capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO("A dog.\n\nA cat.\n"))
    assert main(["translate", "--to", "yy", "--translator", folder]) == 0
    assert capsys.readouterr().out == expected


def test_a_sentence_unlike_the_training_s_gets_a_note(folder, tmp_path, capsys):
    output = tmp_path / "out.json"
    command = ["translate", "A dog.", "--to", "xx", "--translator", folder, "--output", str(output)]
    config = Path(folder, "config.json")
    settings = json.loads(config.read_text())
    for threshold, is_unlike in ((0.0, True), (-1e9, False)):
        config.write_text(json.dumps(settings | {"unfamiliar_below": {"xx": threshold}}))
        assert main(command) == 0
        captured = capsys.readouterr()
        assert captured.out.count("\n") == 1
        note = f"note: 'A dog.': {UNFAMILIAR_SENTENCE}\n" if is_unlike else ""
        assert captured.err == note
        (record,) = json.loads(output.read_text(encoding="utf-8"))
        assert record["unfamiliar"] == is_unlike


def test_one_bad_sentence_does_not_stop_the_rest(folder, capsys):
    command = ["translate", "dog " * 2500, "...", "A dog.", "--to", "xx", "--translator", folder]
    assert main(command) == 1
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    first, second = captured.err.splitlines()
    assert first.startswith("error: 'dog dog") and "give a sentence at a time" in first
    assert second == "error: '...': the sentence is empty; give some words"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--to": "de"}, "no language 'de'; this translator writes xx, yy"),
        ({"--translator": "/nowhere"}, "/nowhere: no such folder"),
        ({"--num-beams": "0"}, "num_beams must be a whole number from 1"),
        ({"--output": "/nowhere/x.json"}, "/nowhere does not exist"),
    ],
)
def test_what_cannot_be_is_one_line(folder, capsys, changes, message):
    options = {"--to": "xx", "--translator": folder} | changes
    assert main(["translate", "A dog.", *(w for pair in options.items() for w in pair)]) == 1
    captured = capsys.readouterr()
    assert not captured.out
    (line,) = captured.err.splitlines()
    assert message in line
