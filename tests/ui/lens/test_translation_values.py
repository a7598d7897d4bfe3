"""What a lens is told of a translation."""

import numpy as np
import pytest

from model.wording import UNFAMILIAR_SENTENCE
from tests.support.translators import tiny_translator
from ui.lens.translation_values import make_translation_value, match_words
from ui.serving import translation as page_translation
from ui.tabs.lens_translations import translate_for_lens

TEXT = "A brown dog , wet , runs"  # which the translator reads as "A brown dog, wet, runs."


@pytest.fixture
def translator(monkeypatch):
    translator = tiny_translator()
    monkeypatch.setattr(page_translation, "get_translator", lambda: translator)
    return translator


def test_words_are_matched_by_where_they_begin():
    assert match_words(TEXT.split(), "A brown dog, wet, runs.".split()) == [0, 1, 2, 4, 6]
    assert match_words(["A", "", "dog"], ["A", "dog."]) == [0, 2]


def test_the_lens_gets_a_share_for_each_word_of_the_caption(translator):
    translation = translator.translate(TEXT, "xx")
    value = make_translation_value(translation, TEXT)
    assert (value["language"], value["source"], value["note"]) == ("xx", TEXT, "")
    assert [word["text"] for word in value["words"]] == [word.text for word in translation.words]
    alignment = np.array(value["alignment"])
    assert alignment.shape == (len(translation.words), 7)
    np.testing.assert_allclose(alignment[:, [0, 1, 2, 4, 6]], translation.alignment, atol=1e-4)
    assert not alignment[:, [3, 5]].any()


def test_a_sentence_unlike_the_training_s_is_told(translator):
    translator.network.config.unfamiliar_below = {"xx": 0.0}
    assert translate_for_lens({"text": TEXT, "language": "xx"})["note"] == UNFAMILIAR_SENTENCE
    assert translate_for_lens({"text": TEXT, "language": "yy"})["note"] == ""


@pytest.mark.parametrize(
    ("values", "note"),
    [
        ({"text": "dog " * 99, "language": "xx"}, "Not translated: the sentence has"),
        ({"text": "...", "language": "xx"}, "Not translated: the sentence is empty"),
        ({"text": "A dog", "language": "de"}, "Not translated: no language 'de'"),
        ({}, "Not translated: no language ''"),
    ],
)
def test_what_cannot_be_translated_is_told_in_the_lens(translator, values, note):
    value = translate_for_lens(values)
    assert value["note"].startswith(note) and not value["words"]
    assert value["source"] == values.get("text", "")


def test_a_page_without_a_translator_says_so(monkeypatch):
    monkeypatch.setattr(page_translation, "get_translator", lambda: None)
    assert page_translation.name_languages() == {}
    value = translate_for_lens({"text": "A dog", "language": "de"})
    assert "this page has no translator" in value["note"]
