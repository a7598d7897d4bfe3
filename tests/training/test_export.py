"""An export opens everywhere, its card tells what the run tells, and nothing else gets out."""

import getpass
import json
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import ModelCard
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from transformers import AutoModel

from model import Captioner, load
from model.checkpoint.hub import SHIPPED
from model.explain.familiarity import FAMILIARITY, Familiarity
from tests.support.tiny import draw_photo, tiny_captioner, tiny_encoder_config
from training.evaluate import main as evaluate
from training.export import main
from training.publish.model_card import get_public_name
from ui.serving.captioners import Captioners

PICTURE = b"a picture"
FILES = {"README.md", "config.json", "model.safetensors", "preprocessor_config.json"} | {
    "tokenizer.json"
}


def make_run(folder, **settings):
    """A run folder as training leaves it; the captioner in it is tiny."""
    tiny_captioner(seed=1).save_pretrained(folder / "best")
    known = {"data": "/home/alice/photos", "output": str(folder), "cache": "/home/alice/cache"}
    known |= {"checkpoint": None, "encoder": "facebook/dinov2-small", "rate": 0.001}
    known |= {"eval_beams": 1, "mirror": True, "fp32": False, "limit": None, **settings}
    (folder / "settings.json").write_text(json.dumps(known))
    return folder


@pytest.fixture
def run(tmp_path):
    folder = make_run(tmp_path / "shapes")
    log = [
        {"loss": 3.2, "learning_rate": 1e-3, "epoch": 0.5, "step": 10},
        {"eval_cider": 41.5, "eval_distinct": 0.5, "epoch": 1.0, "step": 20},
        {"eval_cider": 44.25, "eval_distinct": 0.87, "epoch": 2.0, "step": 40},
        {"eval_cider": 40.0, "eval_distinct": 0.9, "epoch": 3.0, "step": 60},
    ]
    lines = [json.dumps(entry) for entry in log] + ['{"loss": 3.']  # killed as it wrote
    (folder / "log.jsonl").write_text("\n".join(lines))
    counts = {split: {"photos": n, "captions": 5 * n} for split, n in (("train", 6000), ("dev", 9))}
    (folder / "data.json").write_text(json.dumps(counts))
    (folder / "curve.png").write_bytes(PICTURE)
    return folder


@pytest.fixture
def hub(monkeypatch):
    """Stands for the hub: what was created and uploaded, and what it answers."""
    hub = SimpleNamespace(created=[], uploaded={}, private=True, error=None, token="secret")

    class Api:
        def create_repo(self, repo_id, private, exist_ok):
            assert exist_ok
            if hub.error:
                raise hub.error
            hub.created.append((repo_id, private))
            return type("Url", (str,), {"repo_id": repo_id})(f"https://hub/{repo_id}")

        def repo_info(self, repo_id):
            return SimpleNamespace(private=hub.private)

        def upload_folder(self, repo_id, folder_path, commit_message, delete_patterns):
            hub.uploaded[repo_id] = {p.name for p in Path(folder_path).iterdir()}
            hub.deleted = delete_patterns

    monkeypatch.setattr("training.publish.upload.HfApi", Api)
    monkeypatch.setattr("training.publish.upload.get_token", lambda: hub.token)
    return hub


def export(*arguments):
    return main([str(argument) for argument in arguments])


def one_line(capsys):
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


def test_export_opens_everywhere(run, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out" / "mine"
    assert export(run, "--output", out) == 0
    assert "mine holds the captioner and its card" in capsys.readouterr().out
    assert {p.name for p in out.iterdir()} == FILES | {"curve.png"}
    assert [p.name for p in out.parent.iterdir()] == ["mine"]  # nothing is left beside it
    assert (out / "curve.png").read_bytes() == PICTURE
    photo, original = draw_photo(), load(run / "best")
    assert load(out).caption(photo) == original.caption(photo)
    monkeypatch.setenv("CAPTIONLENS_CHECKPOINT", str(out))
    captioners = Captioners()
    assert captioners.names[0] == str(out)
    assert captioners.get().caption(photo).text == original.caption(photo).text


def test_card_of_a_run(run, tmp_path):
    assert export(run, "--output", tmp_path / "mine", "--license", "cc-by-4.0") == 0
    card = ModelCard.load(tmp_path / "mine" / "README.md")
    assert card.data.license == "cc-by-4.0" and card.data.pipeline_tag == "image-to-text"
    assert card.data.base_model == "facebook/dinov2-small" and card.data.datasets is None
    for told in (
        "# mine\n",
        "This run: `photos` (train: 6,000 photos with 30,000 captions; dev: 9 photos with 45",
        "began with the image encoder `facebook/dinov2-small`",
        "CIDEr 44.2 on 9 dev photos, greedy decoding, after 2.0 passes over the train photos; 87%",
        "the best of 3: a little of it is chance",
        "![Learning curve](curve.png)",
        "| `--rate` | 0.001 |",
        "| `--mirror` | yes |",
        'captioner = load("mine")',
        "CAPTIONLENS_CHECKPOINT=mine python app.py",
        "it cannot tell that they are",
        "there is no score of a test split",
    ):
        assert told in card.text or told in card.content, told
    for absent in ("--fp32", "--limit", "--output", "--cache", "non-commercial", "None"):
        assert absent not in card.text


def test_nothing_of_the_machine_gets_out(run, tmp_path):
    """Also where the encoder came from a folder, which transformers likes to remember."""
    tiny = tiny_captioner()
    AutoModel.from_config(tiny_encoder_config()).save_pretrained(tmp_path / "dino")
    tiny.network.image_processor.save_pretrained(tmp_path / "dino")
    shutil.rmtree(run / "best")
    Captioner.from_encoder(
        str(tmp_path / "dino"),
        tiny.network.tokenizer,
        (56, 56),
        width=32,
        num_layers=1,
        num_heads=2,
    ).save_pretrained(run / "best")
    settings = json.loads((run / "settings.json").read_text())
    settings |= {"encoder": str(tmp_path / "dino"), "checkpoint": None, "data": "/home/alice"}
    (run / "settings.json").write_text(json.dumps(settings))
    assert export(run, "--output", tmp_path / "mine") == 0
    for file in sorted((tmp_path / "mine").glob("*.json")) + [tmp_path / "mine" / "README.md"]:
        text = file.read_text()
        for secret in ("/home", "alice", str(tmp_path), socket.gethostname()):
            assert secret not in text, (file.name, secret)
    assert f"/{getpass.getuser()}" not in (tmp_path / "mine" / "README.md").read_text()
    assert "began with the image encoder `dino`" in (tmp_path / "mine" / "README.md").read_text()


@pytest.mark.parametrize(
    "place, told",
    [
        ("facebook/dinov2-small", "facebook/dinov2-small"),
        ("me/photos:large", "me/photos:large"),
        ("/home/alice/runs/frozen/best", "frozen"),
        ("../alice/photos/", "photos"),
        (r"C:\Users\alice\photos", "photos"),
        (r"C:\Users\alice", "a folder"),
        ("/", "a folder"),
        ("/srv/captionlens/assets/checkpoint", "shipped"),
    ],
)
def test_public_names(place, told):
    assert get_public_name(place) == told


def test_licence_follows_the_shipped_captioner_through_later_runs(tmp_path):
    """Runs that went on from it, and runs that went on from those."""
    first = make_run(tmp_path / "first", checkpoint=str(SHIPPED), encoder=None, data="me/dogs")
    second = make_run(tmp_path / "second", checkpoint=str(first / "best"), data="me/cats:all")
    assert export(second / "best", "--output", tmp_path / "mine") == 0
    card = ModelCard.load(tmp_path / "mine" / "README.md")
    assert "for non-commercial research and education only" in card.text
    assert "- This run: `me/cats:all`\n- Before that: `me/dogs`\n" in card.text
    assert "began with the captioner `shipped`" in card.text
    assert "| `--checkpoint` | first |" in card.text
    assert card.data.datasets == ["me/cats"] and card.data.base_model is None
    (first / "settings.json").write_text('{"checkpoint": "%s"}' % (second / "best"))  # a circle
    assert export(second, "--output", tmp_path / "circle") == 0


@pytest.mark.slow
def test_card_with_scores(run, flickr, tmp_path, capsys):
    scores = tmp_path / "scores.json"
    assert evaluate(
        ["--data", str(flickr), "--checkpoint", str(run / "best"), "--output", str(scores)]
        + ["--num-beams", "2"]
    ) in (0, None)
    assert export(run, "--output", tmp_path / "my captioner", "--scores", scores) == 0
    card = (tmp_path / "my captioner" / "README.md").read_text()
    result = json.loads(scores.read_text())
    assert f"| CIDEr | {result['CIDEr']:.1f} | {result['no_image']['CIDEr']:.1f} |" in card
    assert f"`{flickr.name}`, dev split, 2 photos, beam search with 2 beams." in card
    command = "python -m training.evaluate --data DIR --split dev --checkpoint 'my captioner'"
    assert f"{command} --num-beams 2\n" in card
    assert result["made_with"]["CIDEr"]["implementation"] in card

    capsys.readouterr()
    result["checkpoint"] = str(run.parent)
    for text, message in (
        (json.dumps(result), "scores of "),
        ("{}", "not scores that training.evaluate wrote"),
        ("[1]", "not scores that training.evaluate wrote"),
        ("photo,score", "not scores that training.evaluate wrote"),
    ):
        scores.write_text(text)
        assert export(run, "--output", tmp_path / "x", "--scores", scores) == 1
        assert message in one_line(capsys)
    assert not (tmp_path / "x").exists()


def test_captioner_without_a_run(tmp_path):
    """Such as training.average makes, taught what photos it knows."""
    captioner = tiny_captioner()
    vectors = torch.randn(50, 32, generator=torch.Generator().manual_seed(0))
    captioner.familiarity = Familiarity.fit(vectors, vectors)
    captioner.save_pretrained(tmp_path / "mean")
    assert export(tmp_path / "mean", "--output", tmp_path / "mine") == 0
    assert {p.name for p in (tmp_path / "mine").iterdir()} == FILES | {FAMILIARITY}
    card = ModelCard.load(tmp_path / "mine" / "README.md")
    assert "Not recorded in the folder" in card.text and "None recorded" in card.text
    assert card.data.base_model is None and card.data.license == "other"
    assert "## Settings" not in card.text and "tells a photo that is unlike" in card.text


def test_what_cannot_be_exported(run, tmp_path, capsys, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep me")
    (tmp_path / "broken").mkdir()
    shutil.copytree(run / "best", tmp_path / "broken" / "best")
    (tmp_path / "broken" / "settings.json").write_text("{")
    for arguments, message in (
        ([run, "--output", tmp_path / "full"], "exists already; give a new folder"),
        ([run, "--output", run / "curve.png"], "exists already; give a new folder"),
        ([tmp_path / "full", "--output", tmp_path / "x"], "neither a run (no best/config.json)"),
        ([tmp_path / "broken", "--output", tmp_path / "x"], "settings.json: not valid JSON"),
        ([run, "--output", tmp_path / "x", "--scores", tmp_path / "no"], "No such file"),
    ):
        assert export(*arguments) == 1
        assert message in one_line(capsys)
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine.txt"]

    save = Captioner.save_pretrained

    def save_another(self, folder):
        save(tiny_captioner(seed=2), folder)

    monkeypatch.setattr(Captioner, "save_pretrained", save_another)
    (tmp_path / "empty").mkdir()
    for output in ("x", "empty"):
        assert export(run, "--output", tmp_path / output) == 1
        assert "not read back as written: encoder." in one_line(capsys)
    assert not (tmp_path / "x").exists() and not list((tmp_path / "empty").iterdir())
    assert not list(tmp_path.glob(".export-*"))
    monkeypatch.undo()
    assert export(run, "--output", tmp_path / "empty") == 0


def test_push(run, tmp_path, hub, capsys):
    assert export(run, "--output", tmp_path / "mine", "--push", "me/dogs") == 0
    assert "pushed to https://hub/me/dogs" in capsys.readouterr().out
    assert hub.created == [("me/dogs", None)]
    assert hub.uploaded == {"me/dogs": FILES | {"curve.png"}}
    assert hub.deleted == [FAMILIARITY, "curve.png"]
    card = (tmp_path / "mine" / "README.md").read_text()
    assert "# dogs\n" in card and 'load("me/dogs")' in card
    assert export(run, "--output", tmp_path / "own", "--push", "me/own", "--private") == 0
    assert hub.created[-1] == ("me/own", True) and "me/own" in hub.uploaded


def test_what_cannot_be_pushed(run, tmp_path, hub, capsys):
    def refused(status):
        response = SimpleNamespace(status_code=status, headers={}, request=None)
        return HfHubHTTPError("Client Error:\nno", response=response)

    hub.private = False
    for number, (error, message) in enumerate(
        (
            (refused(401), "run `hf auth login`; "),
            (refused(403), "not pushed (Client Error: no)"),
            (OfflineModeIsEnabled("offline mode is enabled"), "cannot be reached (offline mode"),
            (None, "me/dogs is there already, and public"),
        )
    ):
        hub.error, out = error, tmp_path / f"{number}"
        assert export(run, "--output", out, "--push", "me/dogs", "--private") == 1
        told = one_line(capsys)
        assert message in told and f"`hf upload me/dogs {out}` pushes it later" in told
        assert load(out).network.config == load(run / "best").network.config
    assert not hub.uploaded

    hub.token = None
    for name, message in (
        ("me/dogs", "run `hf auth login` first"),
        ("dogs", "--push dogs: not a hub id"),
    ):
        assert export(run, "--output", tmp_path / "x", "--push", name) == 1
        assert message in one_line(capsys)
    with pytest.raises(SystemExit):
        export(run, "--output", tmp_path / "x", "--private")
    assert "--private: only allowed with --push" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
