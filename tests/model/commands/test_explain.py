"""`python -m model explain`: figures, arrays and JSON of a photo's maps."""

import json

import numpy as np
import pytest
from PIL import Image

from model.explain.methods import METHODS


@pytest.mark.parametrize("name", ["maps.PNG", "maps.Npz", "maps.JSON"])
def test_explain_writes_by_a_suffix_in_capitals(run, photos, checkpoint, tmp_path, name):
    command = ["explain", photos / "a.jpg", "--text", "a dog", "--checkpoint", checkpoint]
    for output in (tmp_path / name, tmp_path / name.lower()):
        status, out, err = run(*command, "--output", output)
        assert (status, err) == (0, "") and f"2 maps in {output}\n" in out
    first, second = ((tmp_path / n).read_bytes() for n in (name, name.lower()))
    assert first[:4] == second[:4] and len(first) == len(second)


def test_explain_npz(run, photos, checkpoint, tmp_path):
    output = tmp_path / "maps.npz"
    status, out, _ = run(
        "explain",
        photos / "a.jpg",
        "--text",
        "a dog, here",
        "--checkpoint",
        checkpoint,
        "--output",
        output,
    )
    assert status == 0 and "a dog, here" in out
    with np.load(output, allow_pickle=False) as data:
        assert list(data["words"]) == ["a", "dog,", "here"]
        assert data["maps"].shape == (3, 4, 4) and data["maps"].dtype == np.float32
        layers, heads, tokens, patches = data["weights"].shape
        assert (layers, heads, patches) == (2, 2, 17) and tokens > 3
        np.testing.assert_allclose(data["weights"].sum(-1), 1, atol=1e-5)
        assert list(data["grid_size"]) == [4, 4] and data["num_prefix_tokens"] == 1


def test_explain_json_and_png(run, photos, checkpoint, tmp_path):
    explain = ["explain", photos / "a.jpg", "--checkpoint", checkpoint]
    file = tmp_path / "x.json"
    status, printed, _ = run(*explain, "--method", "attention", "--output", file)
    assert status == 0
    data = json.loads(file.read_text(encoding="utf-8"))
    assert data["text"] == " ".join(word["text"] for word in data["words"])
    for word in data["words"]:
        assert np.array(word["map"]).shape == tuple(data["grid_size"]) == (4, 4)
        assert np.sum(word["map"]) == pytest.approx(word["image_share"], abs=1e-5)
        told = f"“{word['text']}” hardly needs the photo"
        assert any(d.startswith(told) for d in data["doubts"]) == (word["gain"] < np.log(1.25))
    assert 0 <= data["spread"] <= 1
    assert all(doubt in printed for doubt in data["doubts"])
    for method in METHODS:
        choices = [] if method == "occlusion" else ["--layer", 1, "--head", 0, 1]
        assert run(*explain, "--method", method, *choices, "--output", file)[0] == 0
        data = json.loads(file.read_text(encoding="utf-8"))
        assert data["method"] == method and data["layer"] == ([1] if choices else None)
    assert run(*explain, "--method", "occlusion", "--layer", 0, "--output", file)[0] == 1
    assert (
        run(
            "explain", photos / "a.jpg", "--checkpoint", checkpoint, "--output", tmp_path / "x.png"
        )[0]
        == 0
    )
    with Image.open(tmp_path / "x.png") as sheet:
        assert json.loads(sheet.text["captionlens"])["text"] == data["text"]
