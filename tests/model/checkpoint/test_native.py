"""Our own format: saved is loaded, and a checkpoint that is not right says so."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Dinov2WithRegistersConfig

from model import CheckpointError, load
from model.checkpoint.hub import WEIGHTS
from tests.support.tiny import draw_photo, tiny_captioner


@pytest.fixture(scope="module")
def captioner():
    return tiny_captioner()


@pytest.fixture
def folder(tmp_path, captioner):
    captioner.save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 0), (torch.float16, 2e-3)])
def test_saved_is_loaded(captioner, tmp_path, dtype, tolerance):
    captioner.save_pretrained(tmp_path, dtype)
    loaded = load(tmp_path)
    assert not loaded.network.training and loaded.network.config == captioner.network.config
    assert {p.name for p in tmp_path.iterdir()} == {
        "config.json",
        WEIGHTS,
        "tokenizer.json",
        "preprocessor_config.json",
    }
    for name, weight in captioner.network.state_dict().items():
        read = loaded.network.state_dict()[name]
        assert read.dtype == torch.float32
        torch.testing.assert_close(read, weight, atol=tolerance, rtol=tolerance)
    if not tolerance:
        photo = draw_photo()
        assert loaded.caption(photo) == captioner.caption(photo)


def test_backbone_with_registers_and_an_oblong_grid(tmp_path):
    encoder = Dinov2WithRegistersConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2,
        patch_size=14,
        image_size=56,
        num_register_tokens=4,
    )
    tiny_captioner((28, 70), encoder).save_pretrained(tmp_path)
    loaded = load(tmp_path)
    explanation = loaded.explain(draw_photo(), loaded.caption(draw_photo()))
    assert explanation.attention.num_prefix_tokens == 5
    assert explanation.attention.weights.shape[3] == 5 + 2 * 5
    assert explanation.heatmap(0).shape == (2, 5)


def change_weights(folder, change):
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)


NORM, EMBEDDING = "decoder.final_norm.weight", "decoder.token_embedding.weight"


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda w: w.pop(NORM), f"missing: {NORM}$"),
        (
            lambda w: w.update({NORM: torch.zeros(3)}),
            rf"wrong shape: {NORM} is \(3,\), not \(32,\)",
        ),
        (lambda w: w.update(stranger=torch.zeros(3)), "unexpected: stranger$"),
        (lambda w: w.clear(), "missing: .* and [0-9]+ more$"),
    ],
)
def test_weights_that_do_not_fit_are_listed(folder, change, message):
    change_weights(folder, change)
    with pytest.raises(CheckpointError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def edit_config(**changes):
    def edit(folder):
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return edit


def edit_processor(**changes):
    def edit(folder):
        path = folder / "preprocessor_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return edit


def edit_encoder(**changes):
    def edit(folder):
        path = folder / "config.json"
        values = json.loads(path.read_text())
        values["encoder"] |= changes
        path.write_text(json.dumps(values))

    return edit


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda f: (f / WEIGHTS).unlink(), "missing; a captioner's weights"),
        (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-9]), "not a whole"),
        (lambda f: (f / WEIGHTS).write_bytes(b""), "not a whole"),
        (lambda f: (f / "config.json").unlink(), "config.json: cannot be read"),
        (lambda f: (f / "config.json").write_text("{"), "config.json: not valid JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "model_type is None"),
        (edit_config(model_type="gpt2"), "model_type is 'gpt2'"),
        (edit_config(colour=1), "unknown settings: colour"),
        (edit_config(encoder={"model_type": "resnet"}), "'resnet' is not supported"),
        (edit_config(encoder={}), "config.json: .*model_type"),
        (edit_config(vocab_size=5), "the tokenizer has"),
        (edit_config(width=33), "num_heads"),
        (edit_config(width="wide"), "config.json"),
        (edit_config(mlp_ratio=float("inf")), "mlp_ratio must be a finite number"),
        (edit_config(decoding={"num_beams": "x"}), "num_beams must be a whole number"),
        (edit_encoder(patch_size=0), "patch_size must be a whole number from 1"),
        (edit_config(encoder={"model_type": "dinov2"}), "encoder has no hidden_size"),
        (edit_encoder(hidden_size=None), "encoder.hidden_size must be a whole number"),
        (edit_config(decoding={"beams": 2}), "unknown option 'beams'"),
        # sizes that no memory has: nothing of them is made
        (edit_config(width=2**20), "wrong shape: decoder"),
        (edit_config(vocab_size=2**40), "wrong shape: decoder.token_embedding"),
        (edit_config(max_length=2**40), "wrong shape: decoder.position_embedding"),
        (edit_config(mlp_ratio=1e9), "wrong shape: decoder"),
        (edit_config(num_layers=10**9), "num_layers is 1000000000, more than 200"),
        (edit_config(image_size=[14 * 10**6] * 2), "image_size is 14000000, more than 2048"),
        (edit_encoder(hidden_size=2**20), "wrong shape: "),
        (edit_encoder(num_hidden_layers=10**9), "encoder.num_hidden_layers is 1000000000"),
        (
            lambda f: (f / "preprocessor_config.json").write_text('{"size": {"height": 99999}}'),
            "preprocessor_config.json: size.height is 99999, more than 2048",
        ),
        (
            edit_config(decoding={"num_beams": 10**6}),
            "decoding.num_beams is 1000000, more than 100",
        ),
        (edit_encoder(patch_size=1), "has more than|does not fit"),
        (edit_config(decoding={"length_penalty": "x"}), "length_penalty must be from -10 to 10"),
        (edit_config(decoding={"seed": "x"}), "seed must be a whole number"),
        (edit_config(vocab_size=None), "vocab_size must be a whole number from 1, not None"),
        (lambda f: (f / "config.json").write_text("[" * 200_000), "recursion depth"),
        (lambda f: change_weights(f, lambda w: w[NORM].fill_(torch.nan)), "not finite"),
        (edit_processor(image_std=[0, 0, 0]), "image_std must be three numbers"),
        (edit_processor(resample=99), "resample 99 is no known filter"),
        (edit_processor(image_mean=[0.5, 0.5]), "image_mean must be three numbers"),
        (edit_processor(pad_size={"height": 10**5, "width": 10**5}), "pad_size.height is 100000"),
        (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json: missing"),
        (lambda f: (f / "preprocessor_config.json").unlink(), "preprocessor_config.json: missing"),
        (lambda f: (f / "preprocessor_config.json").write_text("?"), "preprocessor_config.json"),
    ],
)
def test_a_spoilt_checkpoint_is_one_clear_line(folder, spoil, message):
    spoil(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["preprocessor_config.json", "config.json"])
def test_no_code_of_a_checkpoint_is_run(folder, file, monkeypatch):
    (folder / "evil.py").write_text("raise SystemExit('foreign code ran')")
    values = json.loads((folder / file).read_text())
    if file == "config.json":
        values["encoder"]["auto_map"] = {"AutoModel": "evil.Model", "AutoConfig": "evil.Config"}
    else:
        values = {"auto_map": {"AutoImageProcessor": "evil.Processor"}}
    (folder / file).write_text(json.dumps(values))
    monkeypatch.setattr("builtins.input", lambda *a: "y")  # whoever asks is told yes
    if file == "config.json":
        load(folder)  # a known encoder; what is said of others is not heeded
    else:
        with pytest.raises(CheckpointError, match="preprocessor_config.json"):
            load(folder)


def test_weights_that_half_precision_cannot_hold_are_not_saved(tmp_path):
    captioner = tiny_captioner()
    with torch.no_grad():
        captioner.network.decoder.final_norm.weight[0] = 1e6
    with pytest.raises(CheckpointError, match="decoder.final_norm.weight: not finite"):
        captioner.save_pretrained(tmp_path)
    assert not (tmp_path / WEIGHTS).exists()


def test_a_short_decoder_needs_no_options(folder):
    edit_config(decoding={})(folder)
    assert load(folder).options().max_length == 39
    edit_config(max_length=20, decoding={})(folder)
    change_weights(
        folder,
        lambda w: w.update(
            {
                "decoder.position_embedding.weight": w["decoder.position_embedding.weight"][
                    :20
                ].clone()
            }
        ),
    )
    assert load(folder).caption(draw_photo()).tokens


def test_a_checkpoint_that_is_not_there(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="file: a file; give the checkpoint's folder"):
        load(tmp_path / "file")
    with pytest.raises(CheckpointError, match="no such checkpoint folder"):
        load("a b/c")
    with pytest.raises(CheckpointError, match="no such checkpoint folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="^nobody/nothing: neither a folder nor a model"):
        load("nobody/nothing")  # offline and not cached: at once
