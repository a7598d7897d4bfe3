"""What the tests of the families share."""

import pytest

from tests.support.hub import encoder_decoder, save


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model, tokenizer = encoder_decoder()
    return save(tmp_path_factory.mktemp("vit-gpt2"), model, tokenizer), model, tokenizer
