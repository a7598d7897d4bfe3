"""Step 8 of the lesson: the visitor's own caption, translated."""

import pytest

from model.lesson.steps import take_translation_apart
from tests.support.tiny import draw_photo, tiny_captioner
from tests.support.translators import tiny_translator, tiny_translator_of_words
from tools.serving import serve_app
from ui.lesson import translation as step_8
from ui.lesson.cards import render_elsewhere, render_translation_card
from ui.lesson.pictures import format_number, format_tiny
from ui.serving import translation as page_translation

TEXT = "A brown dog runs."


@pytest.fixture
def translator(monkeypatch):
    translator = tiny_translator()
    monkeypatch.setattr(page_translation, "get_translator", lambda: translator)
    return translator


def test_the_card_says_the_numbers_of_the_step(translator):
    translation = translator.translate(TEXT, "xx", max_length=9)
    word = len(translation.words) - 1
    taken = take_translation_apart(translation, word, 1, 0)
    card = render_translation_card(taken, translation, word, 1, 0)
    step, source_texts = taken
    assert format_number(step.query[0]) in card and format_number(step.scores.max()) in card
    assert f"<strong>{format_number(step.weights.max(), 3)}</strong>" in card
    assert f"<strong>{format_tiny(step.weights_difference)}</strong>" in card
    assert f"{len(source_texts)} tokens that a small text encoder" in card
    assert card.count('<i style="transform') == len(step.token_texts) * len(source_texts)


def test_choices_follow_the_caption_and_the_language(translator):
    language, word, layer, head, card = step_8.begin_translation_step(TEXT, "xx")
    translation = translator.translate(TEXT, "xx")
    assert [name for name, _ in word["choices"]] == [w.text for w in translation.words]
    assert layer["choices"] == head["choices"] == [0, 1] and "8. Translation" in card
    shown = {step_8.show_translation_step(TEXT, "xx", 0, *choice) for choice in ((0, 0), (1, 1.0))}
    assert len(shown) == 2
    last = len(translation.words) - 1
    beyond = step_8.show_translation_step(TEXT, "xx", 99, 0, 0)  # of another language's words
    assert beyond == step_8.show_translation_step(TEXT, "xx", last, 0, 0)
    assert 'lang="yy"' in step_8.begin_translation_step(TEXT, "yy")[-1]
    *hidden, card = step_8.begin_translation_step("", "xx")
    assert card == "" and not any(choice["visible"] for choice in hidden)
    language, word, *_, card = step_8.begin_translation_step("<b>" * 99, "xx")
    assert language["visible"] and not word["visible"] and "Not translated: the sentence" in card


def test_the_static_card_gives_way():
    assert "<h3>Translation</h3>" in render_elsewhere(has_translation=False)
    assert "<h3>Translation</h3>" not in render_elsewhere(has_translation=True)


@pytest.mark.browser
def test_the_step_is_live(browser, tmp_path):
    tiny_captioner((42, 84), seed=1).save_pretrained(tmp_path / "captioner")
    tiny_translator_of_words().save_pretrained(tmp_path / "translator")
    draw_photo(90, 60).save(tmp_path / "photo.png")
    changes = {"CAPTIONLENS_TRANSLATOR": str(tmp_path / "translator")}
    with serve_app(tmp_path, tmp_path / "captioner", **changes) as app:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(60_000)
        page.goto(f"{app.address}/#how-cross-attention-works")
        page.get_by_role("tab", name="How cross-attention works").click()
        panel = page.locator("[role=tabpanel]:visible")
        panel.locator("input[type=file]").first.set_input_files(tmp_path / "photo.png")
        card = page.locator(".lesson-card").filter(has_text="8. Translation")
        card.wait_for()
        before = card.inner_text()
        page.get_by_label("Head of the translator").click()
        options = page.get_by_role("option")
        options.filter(has_not=page.locator("[aria-selected=true]")).last.wait_for()
        chosen = page.locator("[role=option][aria-selected=false]").first
        chosen.click()
        page.wait_for_function(
            """before => [...document.querySelectorAll(".lesson-card")].some((card) =>
              card.innerText.startsWith("8. Translation") && card.innerText !== before)""",
            arg=before,
        )
        page.get_by_label("Translated into").click()
        page.get_by_role("option", name="yy").click()
        card.locator("[lang=yy]").wait_for()
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.close()
        assert "Traceback" not in app.log.read_text()
