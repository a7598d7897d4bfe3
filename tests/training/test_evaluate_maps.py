"""The yardstick for maps prefers one that is right, on a captioner whose answer is known."""

import json

import numpy as np
import pytest

from model.explain.methods import METHODS
from tests.support.known_answers import SENTENCE, build_one_patch_captioner, draw_noise
from tests.support.tiny import draw_photo, tiny_captioner
from training.data import DataError
from training.evaluate_maps import main
from training.evaluation.boxes import Boxes
from training.evaluation.map_scores import (
    WordScore,
    bootstrap_interval,
    list_candidates,
    score_curves,
    summarize_scores,
)


def test_curves_prefer_the_map_that_is_right():
    """Hiding the one patch that matters costs all at once; hiding it last costs nothing."""
    captioner = build_one_patch_captioner(6)
    photo = draw_noise()
    explanation = captioner.explain(photo, SENTENCE, methods=["occlusion"])
    right = np.zeros((4, 4))
    right[1, 2] = 1
    falls = explanation.attention.occlusion[:, 1, 2]
    word = max(
        range(len(explanation.words)),
        key=lambda i: falls[explanation.words[i].start : explanation.words[i].stop].sum(),
    )
    encoded = captioner.encode([photo])[0]
    scores = score_curves(captioner.network, encoded, explanation, word, [right, -right])
    assert scores[0, 0] > scores[1, 0] + 0.05  # deletion: the right map loses more
    assert scores[0, 1] == pytest.approx(0, abs=0.05)  # insertion: that patch is all it takes
    assert scores[1, 0] == pytest.approx(0, abs=0.05)  # hiding all others does no harm


def test_interval_is_over_photos_not_words():
    """A hundred words of one photo are one observation, not a hundred."""
    values = np.repeat([0.0, 1.0, 2.0, 3.0], 25)
    mean, low, high = bootstrap_interval(values, np.repeat(np.arange(4), 25), seed=0)
    assert mean == 1.5 and low < 0.6 and high > 2.4
    _, low, high = bootstrap_interval(values, np.arange(100), seed=0)
    assert high - low < 0.6
    first, second = (bootstrap_interval(values, np.arange(100), seed=0) for _ in range(2))
    assert first == second


def test_table_compares_word_by_word():
    scores = np.zeros((3, 3, 2))
    scores[:, 0, 0], scores[:, 1, 0], scores[:, 2, 0] = [1, 5, 9], [2, 6, 10], [4, 8, 12]
    word_scores = [WordScore(i, "word", word) for i, word in enumerate(scores)]
    rows = summarize_scores(["random", "attention", "x"], word_scores, ("deletion", "insertion"), 0)
    assert rows[2]["over random"] == (3, 3, 3) and rows[2]["over attention"] == (2, 2, 2)
    assert [row["deletion"] for row in rows] == [5, 6, 8]


def test_candidates_are_every_method_and_layer():
    captioner = tiny_captioner()
    explanation = captioner.explain(draw_photo(), SENTENCE, methods=tuple(METHODS))
    found = {c.name: c.draw(explanation, 1) for c in list_candidates(captioner.network, 0)}
    assert set(METHODS) | {"random", "centre", "gradient, layer 1"} <= set(found)
    assert all(m.shape == (4, 4) and (m >= 0).all() for m in found.values())
    assert found["centre"].argmax() in (5, 6, 9, 10)


def coco(tmp_path, **changes):
    content = {
        "images": [{"id": 7, "file_name": "1.jpg", "width": 200, "height": 100}],
        "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
        "annotations": [
            {"image_id": 7, "category_id": 18, "bbox": [100, 50, 100, 50], "iscrowd": 0},
            {"image_id": 7, "category_id": 1, "bbox": [0, 0, 25, 100], "iscrowd": 0},
            {"image_id": 7, "category_id": 1, "bbox": [0, 0, 200, 100], "iscrowd": 1},
        ],
    } | changes
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    return tmp_path / "boxes.json"


def test_boxes(tmp_path):
    boxes = Boxes.load(coco(tmp_path))
    assert "1.jpg" in boxes and "2.jpg" not in boxes
    for word in ("dog", "Dog,", "puppy"):
        inside = boxes.locate("1.jpg", word, (4, 4))
        np.testing.assert_allclose(inside.patches[2:, 2:], 1)
        assert inside.patches.sum() == 4
    person = boxes.locate("1.jpg", "woman", (4, 4)).patches  # an eighth of the width: half a patch
    np.testing.assert_allclose(person[:, 0], 0.5)
    assert person.sum() == 2
    assert boxes.locate("1.jpg", "grass") is None and boxes.locate("1.jpg", "cat") is None
    peak = np.zeros((4, 4))
    peak[3, 3] = 3
    peak[0, 0] = 1
    assert inside.score(peak) == (1.0, 0.75)
    assert inside.score(peak.T[::-1]) == (0.0, 0.0)
    assert inside.score(np.zeros((4, 4))) == (0.0, 0.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"images": 3},
        {"annotations": [{"image_id": 1}]},
        {"annotations": [{"image_id": 7, "category_id": 18, "bbox": [100, 50]}]},
    ],
)
def test_not_boxes(tmp_path, changes):
    with pytest.raises(DataError, match=r"boxes.json: not a COCO instances file"):
        Boxes.load(coco(tmp_path, **changes))


@pytest.mark.parametrize("option, value", [("--limit", "0"), ("--words", "-1"), ("--seed", "-1")])
def test_numbers_that_cannot_be(option, value, capsys):
    assert main(["--data", "none", option, value]) == 1
    assert capsys.readouterr().err.startswith(f"error: {option}: must be ")


@pytest.mark.slow
def test_command(flickr, tmp_path, capsys):
    tiny_captioner(seed=1).save_pretrained(tmp_path / "start")
    arguments = ["--data", str(flickr), "--checkpoint", str(tmp_path / "start"), "--split", "train"]
    assert main([*arguments, "--words", "3", "--output", str(tmp_path / "maps.json")]) == 0
    printed = capsys.readouterr().out
    assert "| occlusion |" in printed and "deletion over random" in printed
    saved = json.loads((tmp_path / "maps.json").read_text())
    assert saved["seed"] == 0 and saved["rows"][0]["map"] == "random"
    assert main([*arguments, "--words", "3"]) == 0
    assert capsys.readouterr().out == printed  # the same seed, the same table

    photos = next(flickr.glob("[iI]mages"))
    boxes = coco(tmp_path)
    arguments = ["--data", str(photos), "--checkpoint", str(tmp_path / "start")]
    assert main([*arguments, "--boxes", str(tmp_path / "none.json")]) == 1
    assert main([*arguments, "--boxes", str(boxes)]) == 1
    assert "none of" in capsys.readouterr().err
