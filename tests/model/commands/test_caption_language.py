"""`python -m model caption --language`: captions with their translations, in every format."""

import csv
import json

import pytest

from model.translation import load_translator
from tests.support.translators import tiny_translator


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("translator")
    tiny_translator(max_length=128).save_pretrained(path)
    return str(path)


@pytest.fixture
def command(photos, checkpoint, folder):
    command = ["caption", photos / "a.jpg", photos / "more", "--checkpoint", checkpoint]
    return [*command, "--translator", folder, "--language", "xx"]


def test_records_have_the_translation_of_their_caption(run, command, folder):
    translator = load_translator(folder)
    plain = [json.loads(line) for line in run(*command[:5], "--format", "jsonl")[1].splitlines()]
    status, out, err = run(*command, "--format", "jsonl")
    records = [json.loads(line) for line in out.splitlines()]
    assert (status, err) == (0, "") and len(records) == 2
    for record, before in zip(records, plain, strict=True):
        assert record["translation"] == translator.translate(record["caption"], "xx").text
        assert record["language"] == "xx"
        assert {key: record[key] for key in before} == before
    text = run(*command)[1]
    assert text == "".join(
        f"{record['image']}: {record['caption']}\t{record['translation']}\n" for record in records
    )


def test_csv_has_columns_more_and_is_gone_on_with_in_the_same_language(
    run, command, photos, tmp_path
):
    output = tmp_path / "captions.csv"
    command[2:2] = [photos / "b.jpg"]
    assert run(*command, "--output", output)[0] == 1
    with output.open(encoding="utf-8-sig") as file:
        first, broken, second = csv.DictReader(file)
    assert list(first)[-2:] == ["translation", "language"]
    assert first["language"] == second["language"] == "xx" and first["translation"]
    assert broken["error"] and broken["translation"] == broken["language"] == ""
    before = output.read_bytes()
    del command[2]
    assert run(*command, "--output", output, "--resume")[:2] == (0, "")
    for changed, message in (
        ([*command[:-1], "yy"], "begun with translations into xx; go on in the same way"),
        (command[:5], "begun with translations; go on in the same way"),
    ):
        status, _, err = run(*changed, "--output", output, "--resume")
        assert status == 1 and message in err
    assert output.read_bytes() == before
    plain = tmp_path / "captions.jsonl"
    assert run(*command[:5], "--output", plain)[0] == 0
    status, _, err = run(*command, "--output", plain, "--resume")
    assert status == 1 and "begun without translations" in err


def test_a_caption_that_is_too_long_is_reported_and_does_not_stop_the_rest(run, command, tmp_path):
    tiny_translator(max_length=8, decoding={}).save_pretrained(tmp_path / "short")
    command[command.index("--translator") + 1] = tmp_path / "short"
    status, out, err = run(*command, "--format", "jsonl")
    records = [json.loads(line) for line in out.splitlines()]
    assert status == 1 and len(records) == 2
    assert err.count("\n") == 2 and "a.jpg: not translated: the sentence has" in err
    for record in records:
        assert record["translation"] == "" and record["caption"]
        assert "more than this translator's 7" in record["translation_error"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--language", "zz"], "no language 'zz'; this translator writes xx, yy"),
        (["--language", "xx", "--translator", "/nowhere"], "/nowhere: no such folder"),
        (["--language", "zz", "--engine", "ray", "--output", "{tmp}"], "no language 'zz'"),
    ],
)
def test_what_cannot_be_is_one_line(run, command, tmp_path, arguments, message):
    pytest.importorskip("ray")
    arguments = [argument.format(tmp=tmp_path / "out") for argument in arguments]
    status, out, err = run(*command, *arguments)
    assert (status, out) == (1, "") and err.count("\n") == 1 and message in err


def test_a_translator_without_a_language_says_what_is_missing(run, command):
    status, _, err = run(*command[:7])
    assert (status, err) == (1, "error: --translator needs --language\n")


def test_without_a_shipped_translator_one_line_says_so(run, command, tmp_path, monkeypatch):
    monkeypatch.setattr("model.translation.translator.SHIPPED_TRANSLATOR", tmp_path / "none")
    status, _, err = run(*command[:5], "--language", "de")
    assert status == 1 and "comes with no translator yet; train one" in err
