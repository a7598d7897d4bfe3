"""The captioner as people use it: maps belong to their words, wrong values are one clear line."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel

from model import Caption, Captioner, CaptionLensError, OptionError, load
from model.explain.methods import METHODS
from model.images import load_image
from model.network.decoder import TextDecoder
from model.network.network import EncodedPhoto
from model.network.tokenizer import CaptionTokenizer
from tests.support.tiny import SENTENCES, draw_photo, tiny_captioner, tiny_encoder_config


@pytest.fixture(scope="module")
def captioner():
    return tiny_captioner()


def test_word_k_looks_at_patch_k():
    """A decoder built by hand: position t attends to patch t, and says what is written there.

    One off in the bookkeeping, or rows and columns exchanged, and a map peaks elsewhere.
    """
    captioner = tiny_captioner(image_size=(42, 84))  # 3 × 6 patches after one prefix token
    tokenizer = captioner.network.tokenizer = CaptionTokenizer.train(SENTENCES, 400)
    tokens = [*tokenizer.encode("a red dog runs in water")[0], tokenizer.end]
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
    captioner.network.decoder = decoder
    captioner.network.config.encoder["hidden_size"] = 18 + vocab_size
    captioner.network.config.vocab_size = vocab_size
    nothing = torch.zeros(1, 1 + 18, 18 + vocab_size)  # what such an encoder gives for grey
    captioner.network.encoder.forward = lambda pixel_values, visible_patches=None: nothing
    features = torch.zeros(1 + 18, 18 + vocab_size)
    for patch in range(18):
        features[1 + patch, patch] = 1.0
        features[1 + patch, 18 + (tokens[patch] if patch < len(tokens) else tokens[0])] = 1.0
    photo = EncodedPhoto(torch.zeros(3, 42, 84), features)

    for options in (dict(num_beams=1), dict(num_beams=3), dict(sample=True, seed=0)):
        caption = captioner.caption(photo, **options)
        assert caption.text == "a red dog runs in water"
        explanation = captioner.explain(photo, caption)
        assert explanation.attention.weights.shape == (1, 1, len(tokens), 19)
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
    network, (photo,) = captioner.network, captioner.encode([draw_photo()])
    caption = captioner.caption(photo, num_beams=1)
    cache, collected = network.decoder.look_at(photo.image_features[None]), []
    for token in (network.tokenizer.start, *caption.tokens[:-1]):
        output = network.decoder(torch.tensor([[token]]), cache, need_weights=True)
        cache = output.cache
        collected.append(torch.stack(output.cross_attn_weights)[:, 0, :, -1])
    explanation = captioner.explain(photo, caption, methods=[method])
    assert (explanation.attention.gradients is None) == (method == "attention")
    assert explanation.log_probability == pytest.approx(caption.log_probability, abs=1e-4)
    weights = torch.from_numpy(explanation.attention.weights)
    torch.testing.assert_close(weights, torch.stack(collected, dim=2), atol=1e-5, rtol=0)
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:3]))


@pytest.mark.parametrize("method", ["attention", "gradient"])
@torch.inference_mode()
def test_earlier_words_are_those_of_the_greedy_path(captioner, method):
    """Read one token after the other, the weights on each token before are summed by hand."""
    network, (photo,) = captioner.network, captioner.encode([draw_photo()])
    explanation = captioner.explain(photo, "A brown dog runs through", methods=[method])
    tokens, words = explanation.caption.tokens, explanation.words
    assert max(word.stop - word.start for word in words) > 1, "a word of several tokens"
    cache, rows = network.decoder.look_at(photo.image_features[None]), []
    for token in (network.tokenizer.start, *tokens[:-1]):
        output = network.decoder(torch.tensor([[token]]), cache, need_weights=True)
        cache = output.cache
        rows.append(torch.stack(output.self_attn_weights).mean(dim=(0, 1, 2, 3)))  # (cached + 1,)
    for index, word in enumerate(words):
        expected = [
            sum(
                float(rows[t][1 + k]) / (word.stop - word.start)
                for t in range(word.start, word.stop)
                for k in range(other.start, other.stop)
            )
            for other in words[:index]
        ]
        assert explanation.earlier_words(index) == pytest.approx(expected, abs=1e-5)
    assert explanation.earlier_words(0) == []
    assert explanation.earlier_words(-1) == explanation.earlier_words(len(words) - 1)
    rows_of_weights = torch.from_numpy(explanation.text_weights)
    torch.testing.assert_close(rows_of_weights.sum(-1), torch.ones(rows_of_weights.shape[:3]))
    assert not rows_of_weights.triu(1).any(), "no token looks at a later one"
    with pytest.raises(IndexError):
        explanation.earlier_words(len(words))


@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_are_of_each_tokens_own_log_probability(frozen):
    captioner = tiny_captioner()
    network = captioner.network.requires_grad_(not frozen)
    (photo,) = captioner.encode([draw_photo()])
    explanation = captioner.explain(photo, "A dog runs")
    tokens = [*network.tokenizer.encode("A dog runs")[0], network.tokenizer.end]
    inputs = torch.tensor([[network.tokenizer.start, *tokens[:-1]]])
    for t, token in enumerate(tokens):  # one token at a time, the others' part left out
        context = photo.image_features[None].clone().requires_grad_()
        output = network.decoder(inputs, network.decoder.look_at(context), need_weights=True)
        own = output.logits[0, t].log_softmax(-1)[token]
        expected = torch.stack(torch.autograd.grad(own, output.cross_attn_weights))[:, 0, :, t]
        gradients = torch.from_numpy(explanation.attention.gradients[:, :, t])
        torch.testing.assert_close(gradients, expected, atol=1e-5, rtol=1e-4)
    assert all(p.grad is None for p in network.parameters())


def test_explaining_is_the_same_wherever_it_is_called():
    captioner, photo = tiny_captioner(), draw_photo()
    alone = captioner.explain(photo, "A dog runs")
    with torch.inference_mode():
        inside = captioner.explain(photo, "A dog runs")
    np.testing.assert_array_equal(inside.attention.gradients, alone.attention.gradients)


def test_probabilities_are_those_of_the_steps(captioner):
    network, (photo,) = captioner.network, captioner.encode([draw_photo()])
    caption = captioner.caption(photo, num_beams=3)
    with torch.inference_mode():
        cache, by_token = network.decoder.look_at(photo.image_features[None]), []
        last = network.tokenizer.start
        for token in caption.tokens:
            logits, cache, *_ = network.decoder(torch.tensor([[last]]), cache)
            by_token.append(float(logits[0, -1].log_softmax(-1)[token]))
            last = token
    assert caption.log_probability == pytest.approx(sum(by_token), abs=1e-4)
    explanation = captioner.explain(photo, caption)
    assert explanation.log_probability == pytest.approx(sum(by_token), abs=1e-4)
    for word, replayed in zip(caption.words, explanation.words, strict=True):
        expected = np.exp(sum(by_token[word.start : word.stop]))
        assert word.probability == pytest.approx(expected, rel=1e-3)
        assert replayed.probability == pytest.approx(expected, rel=1e-3)
        assert replayed[:1] + replayed[2:] == word[:1] + word[2:]


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
    again = captioner.captions(captioner.encode(photos), num_captions=2)
    assert again == together
    many = captioner.captions(photos[:1], num_captions=8)[0]  # more than the usual beams
    assert len({c.tokens for c in many}) == 8


def test_an_encoded_photo_gives_what_the_photo_gives(captioner):
    photo = draw_photo()
    (encoded,) = captioner.encode([photo])
    size, patches = captioner.network.config.image_size, captioner.network.encoder.num_tokens
    assert encoded.pixel_values.shape == (3, *size)
    assert encoded.image_features.shape == (patches, captioner.network.config.image_width)
    assert captioner.encode([encoded])[0] is encoded
    caption = captioner.caption(photo)
    assert captioner.caption(encoded) == caption
    assert list(captioner.stream(encoded)) == list(captioner.stream(photo))
    assert captioner.alternatives(encoded, caption) == captioner.alternatives(photo, caption)
    explanation, again = (
        captioner.explain(image, caption, methods=list(METHODS)) for image in (photo, encoded)
    )
    assert (again.caption, again.gains) == (explanation.caption, explanation.gains)
    for method in METHODS:
        np.testing.assert_array_equal(again.heatmaps(method), explanation.heatmaps(method))


def test_encoded_photos_and_photos_keep_their_order(captioner):
    photos = [draw_photo(colour=c) for c in ((250, 0, 0), (0, 250, 0), (0, 0, 250), (9, 9, 9))]
    expected = captioner.encode(photos)
    assert len({float(photo.image_features.sum()) for photo in expected}) == len(photos)
    mixed = captioner.encode([photos[0], expected[1], photos[2], expected[3]])
    assert mixed[1] is expected[1] and mixed[3] is expected[3]
    for photo, same in zip(mixed, expected, strict=True):
        torch.testing.assert_close(photo.pixel_values, same.pixel_values, atol=0, rtol=0)
        torch.testing.assert_close(photo.image_features, same.image_features, atol=1e-5, rtol=0)
    assert captioner.encode([]) == []


def test_a_captioner_moves_to_a_device():
    captioner = tiny_captioner()
    assert captioner.device.type == "cpu"
    assert captioner.to("meta") is captioner
    assert captioner.device.type == "meta"
    assert {p.device.type for p in captioner.network.parameters()} == {"meta"}


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


def test_new_captioner_from_a_pretrained_encoder(captioner, tmp_path):
    torch.manual_seed(0)
    backbone = AutoModel.from_config(tiny_encoder_config())
    backbone.save_pretrained(tmp_path / "encoder")
    captioner.network.image_processor.save_pretrained(tmp_path / "encoder")
    untrained = Captioner.from_encoder(
        str(tmp_path / "encoder"), captioner.network.tokenizer, (28, 56), width=16, num_heads=2
    )
    network = untrained.network
    assert network.encoder.grid_size == (2, 4) and not network.training
    assert network.pixel_values([draw_photo(300, 100)]).shape == (1, 3, 28, 56)
    pretrained = backbone.encoder.layer[1].mlp.fc1.weight
    torch.testing.assert_close(network.encoder.blocks[1].mlp.up.weight, pretrained)
    untrained.save_pretrained(tmp_path / "captioner", torch.float32)
    loaded = load(str(tmp_path / "captioner"))
    assert loaded.caption(draw_photo()) == untrained.caption(draw_photo())
    assert AutoConfig.for_model(**loaded.network.config.encoder).patch_size == 14


def test_the_whole_photo_is_squashed_in(captioner):
    """No crop: what lies at the photo's edge lies at the input's edge."""
    photo = draw_photo(200, 20, (0, 0, 0))
    photo.paste((255, 255, 255), (0, 0, 20, 20))
    pixels = captioner.network.pixel_values([photo])[0].mean(0)
    assert pixels[:, :4].min() > pixels[:, 8:].max()


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
        (photo for photo in captioner.encode([first, other])),
        [captioner.encode([first])[0], other],
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
        EncodedPhoto(torch.zeros(3, 56, 56), torch.zeros(17, 32)),
        None,
        3,
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_image_where_several_are_due(captioner, images):
    for method in (captioner.captions, captioner.encode):
        with pytest.raises(OptionError, match=r"a list of images is due here.* give \[image\]"):
            method(images)


def test_an_array_of_paths_is_a_list_of_images(captioner, tmp_path):
    paths = [str(tmp_path / f"{n}.png") for n in range(2)]
    for n, path in enumerate(paths):
        draw_photo(colour=(90 * n, 0, 50)).save(path)
    assert captioner.captions(np.array(paths)) == captioner.captions(paths)


@pytest.mark.parametrize(
    "use, message",
    [
        (lambda c: c.caption(["a.jpg", "b.jpg"]), "list is not an image; give a path"),
        (lambda c: c.explain(["a.jpg"], "a dog"), "list is not an image; give a path"),
        (lambda c: c.caption(c.encode([draw_photo(), draw_photo()])), "list is not an image"),
        (lambda c: c.explain(c.encode([draw_photo()]), "a dog"), "list is not an image"),
        (lambda c: c.alternatives(c.encode([draw_photo()]), "a dog"), "list is not an image"),
        (lambda c: c.caption(torch.zeros(7)), "give one photo"),
        (lambda c: c.caption(draw_photo(), prefix=None), "a text is due, not NoneType"),
        (lambda c: c.explain(draw_photo(), None), "a caption or a sentence is due, not NoneType"),
        (lambda c: c.explain(draw_photo(), ["a", "dog"]), "a caption or a sentence is due"),
        (lambda c: c.explain(draw_photo(), Caption("x", [0], 0.0, (9999,))), "another captioner"),
        (lambda c: c.explain(draw_photo(), "a dog", methods=[3]), "unknown method 3"),
        (lambda c: c.captions([], num_beams=0), "num_beams must be a whole number from 1"),
        (lambda c: c.caption(draw_photo(), num_beams=2.5), "num_beams must be a whole number"),
        (lambda c: c.caption(draw_photo(), num_beams="3"), "num_beams must be a whole number"),
        (lambda c: c.caption(draw_photo(), temperature="hot"), "temperature must be a number"),
        (lambda c: c.caption(draw_photo(), seed=2**70), "seed must be a whole number of 64 bits"),
    ],
)
def test_wrong_values_are_one_line(captioner, use, message):
    with pytest.raises(CaptionLensError, match=message) as caught:
        use(captioner)
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy(captioner):
    photo = draw_photo()
    expected = captioner.captions([photo], num_beams=3, num_captions=2, length_penalty=0.5)
    numbers = dict(num_beams=np.int64(3), num_captions=np.int32(2), length_penalty=np.float32(0.5))
    assert captioner.captions([photo], **numbers) == expected
    drawn = captioner.caption(photo, sample=True, seed=4, temperature=0.5)
    numbers = dict(seed=np.int64(4), temperature=np.float16(0.5))
    assert captioner.caption(photo, sample=True, **numbers) == drawn
    explanation = captioner.explain(photo, "a dog", methods="attention")
    for one, same in ((np.int64(1), 1), (np.array([0, 1]), [0, 1]), ((np.int8(0),), 0)):
        for name in ("layer", "head"):
            expected = explanation.heatmap(0, "attention", **{name: same})
            assert (explanation.heatmap(np.int64(0), "attention", **{name: one}) == expected).all()


@pytest.mark.parametrize(
    "choice, message",
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
def test_layers_and_heads_that_are_none(captioner, name, choice, message):
    explanation = captioner.explain(draw_photo(), "a dog")
    with pytest.raises(OptionError, match=f"{name} {message}"):
        explanation.heatmaps(**{name: choice})


def test_what_the_encoder_sees_of_a_large_photo():
    """Thinned first or not, it is the same but for half a grey level."""
    captioner = load()
    photo = load_image("assets/examples/cat.jpg").resize((1343, 897))
    whole = captioner.network.image_processor([photo], return_tensors="pt").pixel_values
    thinned = captioner.network.pixel_values([photo])
    level = 1 / 255 / min(captioner.network.image_processor.image_std)
    assert 0 < (thinned - whole).abs().mean() < level / 2
    assert (thinned.flip(3) - whole).abs().mean() > 20 * level
