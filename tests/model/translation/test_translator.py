"""Sentences in, translations out: batches, streams, alignment, folders and mistakes."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from model.errors import CheckpointError, OptionError
from model.translation.translator import Translator
from tests.support.translators import SENTENCES, tiny_translator


@pytest.fixture
def translator():
    return tiny_translator()


def test_a_batch_is_each_alone_whatever_the_padding(translator):
    sentences = [*SENTENCES, "A dog."]
    for options in ({"num_beams": 1}, {"num_beams": 4}):
        options |= {"max_length": 12}
        together = translator.translate_all(sentences, "yy", **options)
        for sentence, translation in zip(sentences, together, strict=True):
            alone = translator.translate(sentence, "yy", **options)
            assert alone.tokens == translation.tokens
            assert alone.log_probability == pytest.approx(translation.log_probability, abs=1e-4)


def test_the_language_token_decides(translator):
    languages = {code: translator.translate(SENTENCES[0], code).tokens for code in ("xx", "yy")}
    assert languages["xx"] != languages["yy"]
    assert translator.languages == ["xx", "yy"]


def test_a_stream_grows_to_the_translation(translator):
    steps = list(translator.stream(SENTENCES[0], "xx", num_beams=1, max_length=9))
    assert len(steps) > 1
    assert [step.tokens for step in steps] == [
        steps[-1].tokens[: i + 1] for i in range(len(steps[-1].tokens))
    ]
    assert steps[-1] == translator.translate(SENTENCES[0], "xx", num_beams=1, max_length=9)


def test_alignment_is_the_attention_of_a_replay(translator):
    translation = translator.translate("a dog runs", "xx", max_length=8)
    assert translation.source == "A dog runs."
    alignment = translation.alignment
    assert alignment.dtype == np.float32
    assert alignment.shape == (len(translation.words), 3)
    np.testing.assert_allclose(alignment.sum(axis=1), 1, atol=1e-6)
    network = translator.network
    source, words = network.tokenizer.encode(translation.source)
    start = network.tokenizer.starts["xx"]
    with torch.no_grad():
        tokens = torch.tensor([[start, *translation.tokens[:-1]]])
        cache = network.read_sentences([source])
        layers = network.decoder(tokens, cache, need_weights=True).cross_attn_weights
    mean = sum(layer[0].mean(dim=0) for layer in layers).numpy() / len(layers)
    first = translation.words[0]
    of_first = mean[first.start : first.stop].mean(axis=0)
    expected = np.array([of_first[word.start : word.stop].sum() for word in words])
    np.testing.assert_allclose(alignment[0], expected / expected.sum(), atol=1e-6)


def test_saved_and_read_again(translator, tmp_path):
    translator.save_pretrained(tmp_path)
    again = Translator.from_pretrained(tmp_path)
    for name, weight in translator.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], weight.half().float())


@pytest.mark.parametrize(
    ("sentence", "language", "message"),
    [
        ("", "xx", "the sentence is empty"),
        (" \n ", "xx", "the sentence is empty"),
        ("...", "xx", "the sentence is empty"),
        ("dog " * 2500, "xx", "tokens, more than this translator's 39"),
        ("一匹の犬が草の上を走っている。" * 3, "xx", "more than this translator's 39"),
        ("A dog.", "de", "no language 'de'; this translator writes xx, yy"),
        (None, "xx", "a sentence is due, not NoneType"),
    ],
)
def test_what_cannot_be_translated_is_one_line(translator, sentence, language, message):
    with pytest.raises(OptionError, match=message) as error:
        translator.translate(sentence, language)
    assert "\n" not in str(error.value)
    with pytest.raises(OptionError, match=message):
        list(translator.stream(sentence, language))


def test_another_script_is_read_as_bytes(translator):
    assert translator.translate("犬", "xx", max_length=5).source == "犬."


def test_a_folder_that_does_not_fit_is_one_line(translator, tmp_path):
    def save(name):
        translator.save_pretrained(tmp_path / name)
        return tmp_path / name

    with pytest.raises(CheckpointError, match="no such folder"):
        Translator.from_pretrained(tmp_path / "none")
    cut = save("cut")
    weights = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    without = save("without")
    (without / "tokenizer.json").unlink()
    wider = save("wider")
    config = json.loads((wider / "config.json").read_text())
    (wider / "config.json").write_text(json.dumps(config | {"width": 64}))
    fewer = save("fewer")
    tensors = load_file(fewer / "model.safetensors")
    del tensors["encoder.final_norm.bias"]
    save_file(tensors, fewer / "model.safetensors")
    captioner = save("captioner")
    (captioner / "config.json").write_text(json.dumps(config | {"model_type": "captionlens"}))
    for folder, message in (
        (cut, "not a whole safetensors file"),
        (without, "tokenizer.json: missing"),
        (wider, "wrong shape: "),
        (fewer, "missing: encoder.final_norm.bias"),
        (captioner, "model_type is 'captionlens', not 'captionlens-translator'"),
    ):
        with pytest.raises(CheckpointError, match=message) as error:
            Translator.from_pretrained(folder)
        assert "\n" not in str(error.value)
