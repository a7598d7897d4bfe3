"""What a captioner is asked, on the page: with tiny checkpoints of two families that take a prompt,
and one that takes none."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from model import load
from model.wording import SELF_ATTENTION_MAPS
from tests.support.florence_hub import save_florence2
from tests.support.prompted_hub import save_prompted
from tests.support.tiny import draw_photo, tiny_captioner
from tools.serving import serve_app
from ui.lesson import tab as lesson_tab

pytestmark = pytest.mark.browser

LENS = "#caption-lens .lens"
DONE = f"{LENS}[data-state=done]:not(.busy)"
PHOTO = draw_photo(90, 60)
OWN = "What does the image describe?"
CHANGED = "Name the </s> colours."


def prefer_words(model, folder):
    """Save a random model once more: it writes a few words, which can be read again."""
    vocabulary = AutoTokenizer.from_pretrained(folder).get_vocab()
    is_word = {id: len(text) > 2 and text.startswith("Ġ") for text, id in vocabulary.items()}
    others = [
        id for id in is_word if not is_word[id] and id != model.generation_config.eos_token_id
    ]
    with torch.no_grad():
        model.get_output_embeddings().weight[others] *= 0.2
    model.generation_config.max_new_tokens = 8
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Florence-2 with a grid of 4 × 3, a LLaVA, and one of ours."""
    folder = tmp_path_factory.mktemp("checkpoints")
    prefer_words(save_florence2(folder / "florence", seed=3), folder / "florence")
    prefer_words(save_prompted("llava", folder / "llava", seed=2), folder / "llava")
    tiny_captioner().save_pretrained(folder / "ours")
    return {name: folder / name for name in ("florence", "llava", "ours")}


@pytest.fixture(scope="module")
def address(folders, tmp_path_factory):
    names = ",".join(map(str, folders.values()))
    with serve_app(tmp_path_factory.mktemp("app"), names) as app:
        yield app.address
        assert "Traceback" not in app.log.read_text()


@pytest.fixture
def page(browser, address, tmp_path):
    page = browser.new_page(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page.set_default_timeout(60_000)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    PHOTO.save(tmp_path / "photo.png")
    page.locator("input[type=file]").first.set_input_files(tmp_path / "photo.png")
    page.wait_for_selector(DONE)
    yield page
    assert not errors
    page.close()


def ask(page, prompt):
    """Have the photo captioned with another prompt."""
    page.get_by_label("Prompt").fill(prompt)
    write(page, page.get_by_role("button", name="Caption", exact=True))


def write(page, button):
    """Press what has a caption written, and wait for it."""
    page.evaluate("""() => {
      window.isCaptioned = false;
      document.addEventListener("lens:done", () => { window.isCaptioned = true; });
    }""")
    button.click()
    page.wait_for_function("window.isCaptioned")
    page.wait_for_selector(DONE)


def choose_model(page, folder):
    page.get_by_label("Model", exact=True).click()
    page.get_by_role("option", name=str(folder)).click()


def read_text(page, lens=LENS):
    return " ".join(word.inner_text() for word in page.locator(f"{lens} .word").all())


def save_data(page, lens=LENS):
    """What the lens shows, as data: with the maps."""
    with page.expect_download() as download:
        page.click(f"{lens} [name=json]")
    return json.loads(download.value.path().read_text())


def check_maps(data, captioner, prompt, method):
    """Whether the maps are those of a captioner that was asked this."""
    explanation = captioner.with_prompt(prompt).explain(PHOTO, data["text"], methods=[method])
    maps = np.array([word["map"] for word in data["words"]])
    np.testing.assert_allclose(maps, explanation.heatmaps(method), atol=1e-5)
    assert (data["prompt"], data["method"]) == (prompt, method)


def test_a_prompt_travels_with_its_caption(page, folders):
    florence = load(folders["florence"])
    assert page.get_by_label("Prompt").input_value() == OWN == florence.prompt
    assert read_text(page) == florence.caption(PHOTO).text
    assert not page.inner_text(f"{LENS} .about-maps"), "these are of cross-attention"

    ask(page, CHANGED)
    text = florence.with_prompt(CHANGED).caption(PHOTO).text
    assert read_text(page) == text != florence.caption(PHOTO).text
    data = save_data(page)
    assert np.shape(data["words"][0]["map"]) == (4, 3)
    check_maps(data, florence, CHANGED, "gradient")

    page.get_by_label("Prompt").fill("Something else?")  # that nothing was written with
    page.locator(f"{LENS} summary").click()
    page.select_option(f"{LENS} [name=method]", "attention")
    page.wait_for_selector(f"{LENS}.busy")
    page.wait_for_selector(DONE)
    check_maps(save_data(page), florence, CHANGED, "attention")
    page.click(f"{LENS} [name=heads]")
    page.wait_for_selector(f"{LENS} .head")

    page.get_by_label("Prompt").fill(CHANGED)
    page.reload()
    page.wait_for_selector(DONE)
    assert page.get_by_label("Prompt").input_value() == CHANGED and read_text(page) == text
    check_maps(save_data(page), florence, CHANGED, "attention")

    page.get_by_role("tab", name="Explain my sentence").click()
    page.get_by_label("Your sentence").fill("A dog runs.")
    page.get_by_role("button", name="Explain", exact=True).click()
    page.wait_for_selector("#explain-lens .lens[data-state=done]")
    check_maps(save_data(page, "#explain-lens .lens"), florence, CHANGED, "gradient")


def test_each_model_has_its_own_prompt_or_none(page, folders):
    llava = load(folders["llava"])
    page.get_by_label("Prompt").fill(CHANGED)
    choose_model(page, folders["llava"])
    page.wait_for_function(
        "own => document.querySelector('#prompt :is(input, textarea)').value === own",
        arg=llava.prompt,
    )
    ask(page, "Why?")
    num_beams = load(folders["florence"]).options().num_beams  # as the slider began
    assert read_text(page) == llava.with_prompt("Why?").caption(PHOTO, num_beams=num_beams).text
    assert page.inner_text(f"{LENS} .about-maps") == SELF_ATTENTION_MAPS
    check_maps(save_data(page), llava, "Why?", "gradient")
    page.reload()
    page.wait_for_selector(DONE)
    page.get_by_label("Prompt").wait_for()
    assert page.get_by_label("Prompt").input_value() == "Why?"
    assert page.get_by_label("Model", exact=True).input_value() == str(folders["llava"])

    page.get_by_role("tab", name="How cross-attention works").click()
    page.get_by_text(f"{lesson_tab.OTHER_DECODER} {SELF_ATTENTION_MAPS}").wait_for()
    choose_model(page, folders["ours"])
    page.get_by_label("Prompt").wait_for(state="hidden")
    page.get_by_role("tab", name="Caption", exact=True).click()
    write(page, page.get_by_role("button", name="Caption", exact=True))
    assert read_text(page) == load(folders["ours"]).caption(PHOTO, num_beams=num_beams).text


@pytest.mark.parametrize(
    "prompt, line",
    [
        ("x" * 2_000, "the prompt has more than 1,000 characters"),
        ("dog " * 200, "photo and prompt have"),
    ],
    ids=["characters", "tokens"],
)
def test_a_prompt_that_is_too_long_is_one_line(page, prompt, line):
    before = read_text(page)
    page.get_by_label("Prompt").fill(prompt)
    page.get_by_role("button", name="Caption", exact=True).click()
    told = page.wait_for_selector(".toast-body .toast-message-text").inner_text()
    assert line in told and "\n" not in told
    assert read_text(page) == before, "what was there stays"


def test_a_row_of_many_photos_keeps_its_prompt(page, folders, tmp_path):
    florence = load(folders["florence"])
    page.get_by_label("Prompt").fill(CHANGED)
    page.get_by_role("tab", name="Many photos").click()
    page.locator("input[type=file][multiple]").last.set_input_files(tmp_path / "photo.png")
    page.locator(".file-preview tr").first.wait_for()
    page.get_by_role("button", name="Write captions").click()
    page.get_by_text("1 of 1 done.").wait_for()
    page.get_by_label("Prompt").fill("Something else?")
    link = page.locator(".many-table a")
    assert link.inner_text() == florence.with_prompt(CHANGED).caption(PHOTO).text
    write(page, link)
    check_maps(save_data(page), florence, CHANGED, "gradient")
