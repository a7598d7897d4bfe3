"""The configuration is read whole, or not at all."""

import json

import pytest

from model import CheckpointError
from model.network.config import CaptionerConfig
from model.translation.config import TranslatorConfig
from tests.support.tiny import tiny_captioner


def test_settings_that_are_not_there_are_named(tmp_path):
    values = json.loads(tiny_captioner().network.config.to_json_string())
    del values["vocab_size"], values["encoder"]
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="without the settings encoder, vocab_size$"):
        CaptionerConfig.load(tmp_path)


@pytest.mark.parametrize(
    "config",
    [tiny_captioner().network.config, TranslatorConfig(vocab_size=300)],
    ids=["captioner", "translator"],
)
def test_a_slip_of_ours_is_not_told_as_the_files(config, tmp_path, monkeypatch):
    def fail(self):
        raise TypeError("a slip")

    config.save(tmp_path)
    assert type(config).load(tmp_path) == config
    monkeypatch.setattr(type(config), "__post_init__", fail)
    with pytest.raises(TypeError, match="a slip"):
        type(config).load(tmp_path)


def test_one_networks_settings_are_not_anothers(tmp_path):
    TranslatorConfig(vocab_size=300).save(tmp_path)
    with pytest.raises(CheckpointError, match="'captionlens-translator', not 'captionlens'"):
        CaptionerConfig.load(tmp_path)
