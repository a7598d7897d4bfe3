"""A translator that learns a toy language exactly, and the command's mistakes in one line."""

import json
import shutil

import pytest
import torch

from model.errors import CaptionLensError
from model.translation.translator import Translator
from tests.support.translators import draw_toy_pairs
from training.loop.learner import WeightAverage
from training.train_translator import main
from training.translation.alignments import (
    DIAGONAL,
    HIGHEST,
    RANDOM,
    Heads,
    score_alignments,
)


def write_pairs(folder, name, number, seed):
    sources, targets = draw_toy_pairs(number, seed)
    paths = [folder / f"{name}.en", folder / f"{name}.xx"]
    for path, lines in zip(paths, (sources, targets), strict=True):
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [str(path) for path in paths]


def build_command(folder, output, **changes):
    options = {"width": 64, "layers": 1, "heads": 4, "vocab-size": 320, "max-length": 24}
    options |= {"dropout": 0.0, "average": 0.95, "rate": 4e-3, "batch-tokens": 600} | changes
    files = [f"--{name}" for name in ("train", "dev")]
    train, dev = (write_pairs(folder, name, n, n) for name, n in (("train", 2000), ("dev", 30)))
    words = [w for name, value in options.items() for w in (f"--{name}", str(value))]
    return [files[0], *train, files[1], *dev, "--output", str(output), *words]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run that has learned the toy language."""
    folder = tmp_path_factory.mktemp("toy")
    assert main(build_command(folder, folder / "run", epochs=24, evaluations=0.25)) == 0
    return folder / "run"


@pytest.mark.slow
def test_a_reversed_language_is_learned_exactly(run):
    translator = Translator.from_pretrained(run / "best")
    sources, targets = draw_toy_pairs(100, seed=77)
    translations = translator.translate_all(sources, "xx", num_beams=3)
    assert [t.text for t in translations] == targets
    for translation in translations:
        alignment = torch.tensor(translation.alignment)
        torch.testing.assert_close(alignment.sum(dim=1), torch.ones(len(translation.words)))


@pytest.mark.slow
def test_its_alignment_names_the_words_that_matter(run):
    """Without the named word a word becomes nearly as unlikely as without the best one."""
    translator = Translator.from_pretrained(run / "best")
    scores = score_alignments(translator.translate_all(draw_toy_pairs(60, seed=5)[0], "xx"))
    assert scores[Heads()] > 0.9 * scores[HIGHEST]
    assert scores[Heads()] > 2 * max(scores[RANDOM], scores[DIAGONAL])


@pytest.mark.slow
def test_a_run_that_ended_says_so_and_another_is_refused(run, tmp_path, capsys):
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert max(entry.get("eval_bleu", 0) for entry in log) == pytest.approx(100)
    command = build_command(run.parent, run, epochs=24, evaluations=0.25)
    assert main(command) == 0
    assert "the run has ended" in capsys.readouterr().out
    assert main([*command, "--rate", "1e-3"]) == 1
    assert "holds a run with --rate 0.004" in capsys.readouterr().err
    cut = tmp_path / "cut"
    shutil.copytree(run, cut)
    weights = cut / "best" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert main([str(cut) if word == str(run) else word for word in command]) == 1
    assert f"error: {weights}: not a whole safetensors file" in capsys.readouterr().err


@pytest.mark.slow
def test_resumed_is_uninterrupted(tmp_path, monkeypatch):
    options = {"epochs": 2, "evaluations": 3, "dropout": 0.2}
    whole = build_command(tmp_path, tmp_path / "whole", **options)
    parts = build_command(tmp_path, tmp_path / "parts", **options)
    assert main(whole) == 0
    steps = json.loads(next(tmp_path.glob("whole/checkpoint-*/trainer_state.json")).read_text())
    stop = steps["max_steps"] // 2 + 1  # in the middle of an epoch, after a checkpoint
    step_end = WeightAverage.on_step_end

    def interrupt(self, args, state, control, **kwargs):
        step_end(self, args, state, control, **kwargs)
        if state.global_step == stop:
            raise CaptionLensError("the machine stops")

    with monkeypatch.context() as patch:
        patch.setattr(WeightAverage, "on_step_end", interrupt)
        assert main(parts) == 1
    assert main(parts) == 0
    weights = [
        Translator.from_pretrained(tmp_path / name / "best").network.state_dict()
        for name in ("whole", "parts")
    ]
    for name, weight in weights[0].items():
        assert torch.equal(weight, weights[1][name]), name


def test_what_cannot_be_is_one_line(tmp_path, capsys):
    good = build_command(tmp_path, tmp_path / "run", epochs=1)
    train = tmp_path / "train.en"
    shorter = tmp_path / "short.xx"
    shorter.write_text("un perro\n")
    blank = shutil.copy(train, tmp_path / "train.yy")
    (tmp_path / "blank.yy").write_text("\n" * 2000)
    (tmp_path / "table.tsv").write_text("en\txx\na dog\tun perro\na cat\n")
    (tmp_path / "long.tsv").write_text("en\txx\n\na dog\t" + "perro " * 20_000)
    (tmp_path / "long.xx").write_text("un perro\n" * 1999 + "perro " * 20_000)
    for files, message in (
        ([tmp_path / "none.en", shorter], "none.en: no such file"),
        ([tmp_path, shorter], f"{tmp_path}: a folder; give a file"),
        ([train, shorter], "train.en has 2,000, "),
        ([train, train], "another file of that language"),
        ([train], "one language; a translation takes two"),
        ([train, blank], "--dev has en, xx, but --train en, yy"),
        ([train, tmp_path / "blank.yy"], "no line that has a sentence in every language"),
        ([tmp_path / "table.tsv"], "row 3: 1 columns, but the first row names 2 languages"),
        ([tmp_path / "long.tsv"], "long.tsv, row 3: more than 100,000 characters"),
        ([train, tmp_path / "long.xx"], "long.xx, line 2,000: more than 100,000 characters"),
    ):
        command = ["--train", *map(str, files), *good[3:]]
        assert main(command) == 1
        (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
        assert message in line
    assert main([*good, "--max-length", "2"]) == 1
    assert "every sentence is longer than --max-length" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*good, "--width", "0"])
    assert "argument --width: must be at least 1, not 0" in capsys.readouterr().err


def test_a_dev_sentence_that_cannot_be_read_is_quoted(tmp_path, capsys):
    command = build_command(tmp_path, tmp_path / "run", epochs=1)
    for sentence, problem in (
        ("a dog " * 1700, "more than this translator's 23"),
        ("...", "empty"),
    ):
        lines = (tmp_path / "dev.en").read_text().splitlines()
        (tmp_path / "dev.en").write_text("\n".join([*lines[:-1], sentence]) + "\n")
        assert main(command) == 1
        (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
        assert line.startswith(f"error: en, {sentence.strip()[:40]!r}: ") and problem in line
        assert not (tmp_path / "run").exists()
