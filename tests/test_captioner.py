"""The captioner as a whole: maps belong to their words, saved is loaded, bad checkpoints say so."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, Dinov2WithRegistersConfig

from model import Caption, Captioner, CheckpointError, load
from model.captioner import WEIGHTS
from model.images import load_image
from model.network.decoder import TextDecoder
from model.network.tokenizer import CaptionTokenizer
from model.search.generation import step
from tests.support.tiny import SENTENCES, draw_photo, tiny_captioner, tiny_encoder_config


@pytest.fixture(scope="module")
def captioner():
    return tiny_captioner()


@pytest.fixture
def folder(tmp_path, captioner):
    captioner.save_pretrained(tmp_path)
    return tmp_path


def test_word_k_looks_at_patch_k():
    """A decoder built by hand: position t attends to patch t, and says what is written there.

    One off in the bookkeeping, or rows and columns exchanged, and a map peaks elsewhere.
    """
    captioner = tiny_captioner(image_size=(42, 84))  # 3 × 6 patches after one prefix token
    tokenizer = captioner.tokenizer = CaptionTokenizer.train(SENTENCES, 400)
    said, words = tokenizer.encode("a red dog runs in water")
    said = [*said, tokenizer.end]
    positions, vocab_size = 40, tokenizer.vocab_size
    width = positions + vocab_size  # one direction for each position and for each token
    decoder = TextDecoder(
        vocab_size=vocab_size,
        max_length=positions,
        width=width,
        num_layers=1,
        num_heads=1,
        image_width=18 + vocab_size,
    ).eval()
    block = decoder.blocks[0]
    with torch.no_grad():
        for p in (*block.self_attn.parameters(), *block.mlp.parameters()):
            p.zero_()
        for linear in (block.cross_attn.query, block.cross_attn.key, block.cross_attn.value):
            linear.weight.zero_()
        decoder.position_embedding.weight.copy_(torch.eye(positions, width))
        decoder.token_embedding.weight.zero_()[:, positions:] = torch.eye(vocab_size)
        block.cross_attn.query.weight[:18, :18] = 20 * torch.eye(18)  # ask for patch t
        block.cross_attn.key.weight[:18, :18] = 20 * torch.eye(18)  # patch k is patch k
        block.cross_attn.value.weight[positions:, 18:] = 50 * torch.eye(vocab_size)
        block.cross_attn.output.weight.copy_(torch.eye(width))
    captioner.decoder = decoder
    captioner.config.encoder["hidden_size"] = 18 + vocab_size
    captioner.config.vocab_size = vocab_size
    nothing = torch.zeros(1, 1 + 18, 18 + vocab_size)  # what such an encoder gives for grey
    captioner.encoder.forward = lambda pixel_values, seen=None: nothing
    features = torch.zeros(1 + 18, 18 + vocab_size)
    for patch in range(18):
        features[1 + patch, patch] = 1.0
        features[1 + patch, 18 + (said[patch] if patch < len(said) else said[0])] = 1.0

    for options in (dict(num_beams=1), dict(num_beams=3), dict(sample=True, seed=0)):
        caption = captioner.caption(features, **options)
        assert caption.text == "a red dog runs in water"
        explanation = captioner.explain(features, caption)
        assert explanation.attention.weights.shape == (1, 1, len(said), 19)
        for k, word in enumerate(explanation.words):
            heatmap = explanation.heatmap(k, "attention")
            assert heatmap.shape == (3, 6) and heatmap.dtype == np.float32
            patches = list(range(word.start, word.stop))
            peaks = heatmap.ravel().argsort()[::-1][: len(patches)]
            assert sorted(peaks) == patches, f"word {k} looks elsewhere"
            assert heatmap.sum() == pytest.approx(1, abs=1e-3)
            # saturated attention has no gradient to speak of; what there is lies there too
            by_gradient = explanation.heatmap(k, "gradient")
            assert by_gradient.shape == (3, 6) and by_gradient.argmax() in patches


@pytest.mark.parametrize("method", ["attention", "gradient"])
@torch.inference_mode()
def test_replayed_weights_are_those_of_the_greedy_path(captioner, method):
    features = captioner.encode([draw_photo()])
    caption = captioner.caption(features[0], num_beams=1)
    cache, collected = captioner.decoder.look_at(features), []
    for token in (captioner.tokenizer.start, *caption.tokens[:-1]):
        output = captioner.decoder(torch.tensor([[token]]), cache, need_weights=True)
        cache = output.cache
        collected.append(torch.stack(output.cross_attn_weights)[:, 0, :, -1])
    explanation = captioner.explain(features[0], caption, methods=[method])
    assert (explanation.attention.gradients is None) == (method == "attention")
    assert explanation.log_probability == pytest.approx(caption.log_probability, abs=1e-4)
    found = torch.from_numpy(explanation.attention.weights)
    torch.testing.assert_close(found, torch.stack(collected, dim=2), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.sum(-1), torch.ones(found.shape[:3]))


@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_are_of_each_tokens_own_log_probability(frozen):
    captioner = tiny_captioner().requires_grad_(not frozen)
    features = captioner.encode([draw_photo()])
    explanation = captioner.explain(features[0], "A dog runs")
    tokens = [*captioner.tokenizer.encode("A dog runs")[0], captioner.tokenizer.end]
    inputs = torch.tensor([[captioner.tokenizer.start, *tokens[:-1]]])
    for t, token in enumerate(tokens):  # one token at a time, the others' part left out
        context = features.clone().requires_grad_()
        output = captioner.decoder(inputs, captioner.decoder.look_at(context), need_weights=True)
        own = output.logits[0, t].log_softmax(-1)[token]
        expected = torch.stack(torch.autograd.grad(own, output.cross_attn_weights))[:, 0, :, t]
        found = torch.from_numpy(explanation.attention.gradients[:, :, t])
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert all(p.grad is None for p in captioner.parameters())


def test_explaining_is_the_same_wherever_it_is_called():
    captioner, photo = tiny_captioner(), draw_photo()
    alone = captioner.explain(photo, "A dog runs")
    with torch.inference_mode():
        inside = captioner.explain(photo, "A dog runs")
    np.testing.assert_array_equal(inside.attention.gradients, alone.attention.gradients)


def test_probabilities_are_those_of_the_steps(captioner):
    features = captioner.encode([draw_photo()])
    caption = captioner.caption(features[0], num_beams=3)
    with torch.inference_mode():
        cache, by_token = captioner.decoder.look_at(features), []
        last = captioner.tokenizer.start
        for token in caption.tokens:
            log_probabilities, cache = step(captioner.decoder, [last], cache)
            by_token.append(float(log_probabilities[0, token]))
            last = token
    assert caption.log_probability == pytest.approx(sum(by_token), abs=1e-4)
    explanation = captioner.explain(features[0], caption)
    assert explanation.log_probability == pytest.approx(sum(by_token), abs=1e-4)
    for said, replayed in zip(caption.words, explanation.words, strict=True):
        expected = np.exp(sum(by_token[said.start : said.stop]))
        assert said.probability == pytest.approx(expected, rel=1e-3)
        assert replayed.probability == pytest.approx(expected, rel=1e-3)
        assert replayed[:1] + replayed[2:] == said[:1] + said[2:]


def test_stream_ends_with_the_caption(captioner):
    photo = draw_photo()
    for options in (dict(num_beams=1), dict(num_beams=4)):
        partial = list(captioner.stream(photo, **options))
        assert partial[-1] == captioner.caption(photo, **options)
        assert len(partial) > 1


def test_batches_and_several_captions(captioner):
    photos = [draw_photo(colour=c) for c in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    together = captioner.captions(photos, num_captions=2)
    assert [len(captions) for captions in together] == [2, 2, 2]
    for photo, captions in zip(photos, together, strict=True):
        assert captioner.captions([photo], num_captions=2)[0][0].tokens == captions[0].tokens
    features = captioner.encode(photos)
    again = captioner.captions(features, num_captions=2)
    assert [c.text for image in again for c in image] == [
        c.text for image in together for c in image
    ]
    many = captioner.captions(photos[:1], num_captions=8)[0]  # more than the usual beams
    assert len({c.tokens for c in many}) == 8


def test_explaining_a_sentence_of_ones_own(captioner):
    explanation = captioner.explain(draw_photo(), "zwei  Hunde 🐕 , <|end|> <b>run</b>")
    assert [w.text for w in explanation.words] == ["zwei", "Hunde", "🐕,", "<|end|>", "<b>run</b>"]
    assert all(0 < w.probability <= 1 for w in explanation.words)
    assert explanation.heatmap(3).shape == (4, 4)
    spaced = captioner.explain(draw_photo(), "A dog , a man .")
    assert spaced.text == "A dog, a man." == " ".join(w.text for w in spaced.words)
    with pytest.raises(ValueError, match="there is no word"):
        captioner.explain(draw_photo(), "  ")
    with pytest.raises(ValueError, match="tokens; this captioner reads at most 39"):
        captioner.explain(draw_photo(), "word " * 30)
    with pytest.raises(IndexError, match="word 9 of 5"):
        explanation.heatmap(9)
    with pytest.raises(ValueError, match="unknown method 'magic'; choose from attention"):
        explanation.heatmap(0, method="magic")


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 0), (torch.float16, 2e-3)])
def test_saved_is_loaded(captioner, tmp_path, dtype, tolerance):
    captioner.save_pretrained(tmp_path, dtype)
    loaded = load(tmp_path)
    assert not loaded.training and loaded.config == captioner.config
    assert {p.name for p in tmp_path.iterdir()} == {
        "config.json",
        WEIGHTS,
        "tokenizer.json",
        "preprocessor_config.json",
    }
    for name, weight in captioner.state_dict().items():
        found = loaded.state_dict()[name]
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, weight, atol=tolerance, rtol=tolerance)
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


def test_new_captioner_from_a_pretrained_encoder(captioner, tmp_path):
    torch.manual_seed(0)
    backbone = AutoModel.from_config(tiny_encoder_config())
    backbone.save_pretrained(tmp_path / "encoder")
    captioner.image_processor.save_pretrained(tmp_path / "encoder")
    new = Captioner.from_encoder(
        str(tmp_path / "encoder"), captioner.tokenizer, (28, 56), width=16, num_heads=2
    )
    assert new.encoder.grid_size == (2, 4)
    assert new.pixel_values([draw_photo(300, 100)]).shape == (1, 3, 28, 56)
    kept = backbone.encoder.layer[1].mlp.fc1.weight
    torch.testing.assert_close(new.encoder.backbone.encoder.layer[1].mlp.fc1.weight, kept)
    new.save_pretrained(tmp_path / "captioner", torch.float32)
    loaded = load(str(tmp_path / "captioner")).eval()
    assert loaded.caption(draw_photo()) == new.eval().caption(draw_photo())
    assert AutoConfig.for_model(**loaded.config.encoder).patch_size == 14


def test_the_whole_photo_is_squashed_in(captioner):
    """No crop: what lies at the photo's edge lies at the input's edge."""
    photo = draw_photo(200, 20, (0, 0, 0))
    photo.paste((255, 255, 255), (0, 0, 20, 20))
    pixels = captioner.pixel_values([photo])[0].mean(0)
    assert pixels[:, :4].min() > pixels[:, 8:].max()


# --- checkpoints that are not right ------------------------------------------------------------


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
        (edit_processor(image_std=[0, 0, 0]), "image processor gives"),
        (edit_processor(resample=99), "resample|filter|99"),
        (edit_processor(image_mean=[0.5, 0.5]), "size of tensor"),
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
        captioner.decoder.final_norm.weight[0] = 1e6
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


def test_photos_as_arrays_tensors_and_a_generator(captioner):
    photo = np.asarray(draw_photo(colour=(10, 60, 200)))
    expected = captioner.caption(photo).text
    first = torch.from_numpy(photo.transpose(2, 0, 1).copy())  # (3, height, width), of uint8
    for one in (first, first / 255, (first / 255).half(), photo / 255):
        assert captioner.caption(one).text == expected
        assert captioner.explain(one, "a dog").gains == captioner.explain(photo, "a dog").gains
    other = draw_photo(60, 40, (250, 250, 20))
    both = torch.stack([first, torch.from_numpy(np.asarray(other).transpose(2, 0, 1).copy())])
    for images in (
        both,
        both / 255,
        both.permute(0, 2, 3, 1).numpy(),
        (image for image in (first, other)),
        [first / 255, other],
        captioner.encode(both),
        list(captioner.encode([first, other])),
    ):
        texts = [captions[0].text for captions in captioner.captions(images)]
        assert texts == [expected, captioner.caption(other).text]
    assert captioner.captions([]) == captioner.captions(iter([])) == []


@pytest.mark.parametrize(
    "images",
    [
        "photo.jpg",
        Path("photo.jpg"),
        b"photo",
        io.BytesIO(b"photo"),
        draw_photo(),
        np.asarray(draw_photo()),
        torch.zeros(3, 40, 60),
        torch.zeros(3, 40, 60, dtype=torch.uint8),
        None,
        3,
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_image_where_several_are_due(captioner, images):
    for read in (captioner.captions, captioner.encode, captioner.pixel_values):
        with pytest.raises(ValueError, match=r"a list of images is due here.* give \[image\]"):
            read(images)


@pytest.mark.parametrize(
    "ask, told",
    [
        (lambda c: c.caption(["a.jpg", "b.jpg"]), "list is not an image; give a path"),
        (lambda c: c.explain(["a.jpg"], "a dog"), "list is not an image; give a path"),
        (lambda c: c.caption(c.encode([draw_photo(), draw_photo()])), "give one photo"),
        (lambda c: c.explain(c.encode([draw_photo(), draw_photo()]), "a dog"), "give one photo"),
        (lambda c: c.caption(torch.zeros(7)), "give one photo"),
        (lambda c: c.captions([draw_photo(), c.encode([draw_photo()])[0]]), "give two lists"),
        (lambda c: c.caption(draw_photo(), prefix=None), "a text is due, not NoneType"),
        (lambda c: c.explain(draw_photo(), None), "a caption or a sentence is due, not NoneType"),
        (lambda c: c.explain(draw_photo(), ["a", "dog"]), "a caption or a sentence is due"),
        (lambda c: c.explain(draw_photo(), Caption("x", [0], 0.0, (9999,))), "another captioner"),
        (lambda c: c.explain(draw_photo(), "a dog", methods=[3]), "unknown method 3"),
        (lambda c: c.alternatives(draw_photo(), "a dog", 0), "count must be a whole number from 1"),
        (lambda c: c.captions([], num_beams=0), "num_beams must be a whole number from 1"),
        (lambda c: c.caption(draw_photo(), num_beams=2.5), "num_beams must be a whole number"),
        (lambda c: c.caption(draw_photo(), num_beams="3"), "num_beams must be a whole number"),
        (lambda c: c.caption(draw_photo(), temperature="hot"), "temperature must be a number"),
        (lambda c: c.caption(draw_photo(), seed=2**70), "seed must be a whole number of 64 bits"),
    ],
)
def test_wrong_values_are_one_line(captioner, ask, told):
    with pytest.raises(ValueError, match=told) as caught:
        ask(captioner)
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy(captioner):
    photo = draw_photo()
    plain = captioner.captions([photo], num_beams=3, num_captions=2, length_penalty=0.5)
    numbers = dict(num_beams=np.int64(3), num_captions=np.int32(2), length_penalty=np.float32(0.5))
    assert captioner.captions([photo], **numbers) == plain
    drawn = captioner.caption(photo, sample=True, seed=4, temperature=0.5)
    numbers = dict(seed=np.int64(4), temperature=np.float16(0.5))
    assert captioner.caption(photo, sample=True, **numbers) == drawn
    explanation = captioner.explain(photo, "a dog", methods="attention")
    for one, same in ((np.int64(1), 1), (np.array([0, 1]), [0, 1]), ((np.int8(0),), 0)):
        for name in ("layer", "head"):
            expected = explanation.heatmap(0, "attention", **{name: same})
            assert (explanation.heatmap(np.int64(0), "attention", **{name: one}) == expected).all()


@pytest.mark.parametrize(
    "choice, told",
    [
        ([], "names none; give at least one"),
        ((), "names none"),
        (2, "2 does not exist; there are 2"),
        ("0", "must be a number or a list of them, not '0'"),
        (0.5, "must be a number or a list of them"),
        ([None], "must be a number or a list of them"),
    ],
)
@pytest.mark.parametrize("name", ["layer", "head"])
def test_layers_and_heads_that_are_none(captioner, name, choice, told):
    explanation = captioner.explain(draw_photo(), "a dog")
    with pytest.raises(ValueError, match=f"{name} {told}"):
        explanation.heatmaps(**{name: choice})


def test_push_uploads_what_was_saved(captioner, monkeypatch, tmp_path):
    sent = {}

    class Hub:
        def __init__(self, token=None):
            pass

        def create_repo(self, repo_id, private, exist_ok):
            class Url(str):
                pass

            url = Url(f"https://hub/{repo_id}")
            url.repo_id = repo_id
            return url

        def upload_folder(self, repo_id, folder_path):
            sent[repo_id] = sorted(p.name for p in Path(folder_path).iterdir())

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    assert captioner.push_to_hub("me/mine") == "https://hub/me/mine"
    assert sent == {
        "me/mine": ["config.json", WEIGHTS, "preprocessor_config.json", "tokenizer.json"]
    }


def test_what_the_encoder_sees_of_a_large_photo():
    """Thinned first or not, it is the same but for half a grey level."""
    captioner = load()
    photo = load_image("assets/examples/cat.jpg").resize((1343, 897))
    whole = captioner.image_processor([photo], return_tensors="pt").pixel_values
    seen = captioner.pixel_values([photo])
    level = 1 / 255 / min(captioner.image_processor.image_std)
    assert 0 < (seen - whole).abs().mean() < level / 2
    assert (seen.flip(3) - whole).abs().mean() > 20 * level
