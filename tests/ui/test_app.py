"""The page as its visitors see it: in a real browser, with a tiny captioner."""

import base64
import io
import json
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from model import load
from model.translation.translator import SHIPPED_TRANSLATOR
from tests.support.async_calls import run_async
from tests.support.tiny import draw_photo, sharpen_attention, tiny_captioner
from tools.browser import CHROMIUM, FLAGS
from tools.serving import serve_app
from ui.uploads.photos import to_data_url

WORDS = "#caption-lens .word"
ANNOUNCEMENT = "document.querySelector('#caption-lens .announcement').textContent"
DONE = "#caption-lens .lens[data-state=done]:not(.busy)"

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    captioner = tiny_captioner((42, 84), seed=37)
    sharpen_attention(captioner)
    captioner.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def address(checkpoint, tmp_path_factory):
    with_tools = str(find_spec("mcp") is not None)
    settings = {"GRADIO_MCP_SERVER": with_tools, "CAPTIONLENS_ALLOW_HUB": "1"}
    with serve_app(tmp_path_factory.mktemp("app"), checkpoint, **settings) as app:
        yield app.address
        assert "Traceback" not in app.log.read_text()


class Visit:
    """A visitor's page, with what it asked for and what went wrong in it."""

    def __init__(self, browser, address, **options):
        self.page = browser.new_page(**{"viewport": {"width": 1280, "height": 900}, **options})
        self.page.set_default_timeout(60_000)
        self.address, self.requests, self.errors = address, [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(address)
        self.page.wait_for_selector("input[type=file]", state="attached")

    def close(self):
        outside = [u for u in self.requests if not u.startswith((self.address, "data:", "blob:"))]
        assert not outside, "the page asked other hosts"
        assert not self.errors
        self.page.close()


@pytest.fixture
def visit(browser, address):
    visit = Visit(browser, address)
    yield visit
    visit.close()


@pytest.fixture
def page(visit):
    return visit.page


def upload(page, path):
    page.locator("input[type=file]").first.set_input_files(path)


def wait_for_caption(page):
    """Until the caption is whole; gives its words."""
    page.wait_for_selector(DONE)
    return [word.inner_text().strip() for word in page.query_selector_all(WORDS)]


def wait_for_animations(page):
    page.wait_for_function(
        "document.getAnimations().every(animation => animation.playState !== 'running')"
    )


def overlay(page):
    """The map that is drawn over the photo."""
    return page.evaluate("document.querySelector('#caption-lens .stage canvas').toDataURL()")


def test_photo_to_caption_to_map(visit, checkpoint, tmp_path):
    page = visit.page
    photo = draw_photo(320, 120)
    photo.save(tmp_path / "wide.png")
    upload(page, tmp_path / "wide.png")
    words = wait_for_caption(page)
    captioner = load(checkpoint)
    assert " ".join(words) == captioner.caption(photo).text
    asked = len(visit.requests)
    seen = set()
    for index in (0, len(words) - 1):
        heading = page.evaluate(
            "word => { word.click(); return document.querySelector('#caption-lens h3').innerText }",
            page.locator(WORDS).nth(index).element_handle(),
        )
        assert heading.startswith(f"“{words[index]}” "), "at once"
        assert page.locator(WORDS).nth(index).get_attribute("aria-pressed") == "true"
        seen.add(overlay(page))
    assert len(seen) == 2, "choosing another word must change the map"
    assert len(visit.requests) == asked, "choosing a word asks nobody"
    size = page.evaluate(
        "() => { const i = document.querySelector('#caption-lens .stage img');"
        " return [i.naturalWidth, i.naturalHeight] }"
    )
    assert size[0] / size[1] == pytest.approx(320 / 120, rel=0.02)


def test_keyboard_alone(page, tmp_path):
    draw_photo().save(tmp_path / "photo.png")
    upload(page, tmp_path / "photo.png")
    words = wait_for_caption(page)
    page.locator(f"{WORDS}[aria-pressed=true]").focus()
    page.keyboard.press("Home")
    for word in words[:3]:
        assert page.evaluate("document.activeElement.textContent") == word
        assert page.locator("#caption-lens h3").inner_text().startswith(f"“{word}”")
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")  # on to the runners-up: the words are one stop
    assert page.evaluate("!!document.activeElement.closest('.alternatives')")
    before = page.inner_text("#caption-lens .announcement")
    page.keyboard.press("Enter")
    page.wait_for_function(
        f"before => {ANNOUNCEMENT}.startsWith('Caption') && {ANNOUNCEMENT} !== before",
        arg=before,
    )
    assert page.evaluate("document.activeElement.matches('.word')"), "the focus is not lost"


def test_a_runner_up_is_continued_from(page, checkpoint, tmp_path):
    photo = draw_photo(90, 70)
    photo.save(tmp_path / "photo.png")
    upload(page, tmp_path / "photo.png")
    words = wait_for_caption(page)
    page.locator(WORDS).nth(1).click()
    other = page.locator("#caption-lens .alternatives button").first
    prefix = f"{words[0]} {other.inner_text()}"
    other.click()
    page.wait_for_function(
        f"prefix => {ANNOUNCEMENT}.startsWith('Caption: ' + prefix)",
        arg=prefix,
    )
    captioner = load(checkpoint)
    expected = captioner.caption(photo, prefix=prefix).text
    assert page.inner_text("#caption-lens .announcement") == f"Caption: {expected}"


def test_method_layer_head_and_several_captions(page, checkpoint, tmp_path):
    draw_photo().save(tmp_path / "photo.png")
    upload(page, tmp_path / "photo.png")
    wait_for_caption(page)
    page.locator(WORDS).last.click()
    page.mouse.move(2, 2)
    page.get_by_text("Map settings").first.click()
    maps = [overlay(page)]
    for name, value in (("layer", "1"), ("head", "0"), ("method", "occlusion")):
        page.select_option(f"#caption-lens [name={name}]", value)
        page.wait_for_selector(DONE)
        page.wait_for_function(
            "before => before !=="
            " document.querySelector('#caption-lens .stage canvas').toDataURL()",
            arg=maps[-1],
        )
        maps.append(overlay(page))
        assert page.locator(WORDS).last.get_attribute("aria-pressed") == "true", "as chosen"
    assert page.locator("#caption-lens [name=layer]").is_disabled(), "occlusion has no layers"
    page.get_by_text("Options", exact=True).click()
    many = page.get_by_label("number input for Captions side by side")
    wait_for_animations(page)  # the options have slid open
    many.fill("3")
    page.keyboard.press("Tab")
    page.wait_for_function(  # by the slider, which follows what was typed
        "[...document.querySelectorAll('input[type=range]')].some(input => input.value === '3')"
    )
    page.get_by_role("button", name="Caption", exact=True).click()
    page.wait_for_selector("#caption-lens .captions button")
    several = page.locator("#caption-lens .captions button")
    assert several.count() == 3
    text = several.nth(2).locator("b").inner_text()
    several.nth(2).click()
    page.wait_for_function(
        f"text => {ANNOUNCEMENT} === 'Caption: ' + text",
        arg=text,
    )
    assert several.nth(2).get_attribute("aria-pressed") == "true"
    several.nth(2).click()
    page.wait_for_selector(DONE)  # it is there already, and nothing waits for it


def test_figure_and_data_are_saved(page, tmp_path):
    draw_photo().save(tmp_path / "photo.png")
    upload(page, tmp_path / "photo.png")
    words = wait_for_caption(page)
    with page.expect_download() as download:
        page.click("#caption-lens [name=png]")
    download.value.save_as(tmp_path / "figure.png")
    about = json.loads(Image.open(tmp_path / "figure.png").text["captionlens"])
    assert about["text"] == " ".join(words) and about["method"] == "gradient"
    with page.expect_download() as download:
        page.click("#caption-lens [name=json]")
    download.value.save_as(tmp_path / "data.json")
    data = json.loads((tmp_path / "data.json").read_text())
    assert [word["text"] for word in data["words"]] == words and data["words"][0]["map"]


def test_a_sentence_of_ones_own(page, tmp_path):
    draw_photo().save(tmp_path / "photo.png")
    upload(page, tmp_path / "photo.png")
    words = wait_for_caption(page)
    page.get_by_role("tab", name="Explain my sentence").click()
    sentence = page.get_by_label("Your sentence")
    page.wait_for_function(
        "text => document.querySelector('#explain-sentence textarea, #explain-sentence input')"
        ".value === text",
        arg=" ".join(words),
    )  # photo and caption come along
    sentence.fill("a <img src=x onerror=alert(1)> runs")
    page.get_by_role("button", name="Explain", exact=True).click()
    page.wait_for_selector("#explain-lens .lens[data-state=done]")
    shown = [w.inner_text() for w in page.query_selector_all("#explain-lens .word")]
    assert shown == ["a", "<img", "src=x", "onerror=alert(1)>", "runs"], "words are text"
    assert not page.query_selector("#explain-lens .words img")
    sentence.fill("   ")
    page.get_by_role("button", name="Explain", exact=True).click()
    assert "no word to explain" in page.wait_for_selector(".toast-body").inner_text()
    assert [w.inner_text() for w in page.query_selector_all("#explain-lens .word")] == shown
    assert page.query_selector("#explain-lens .lens[data-state=done]"), "what was there stays"


def test_a_file_that_is_no_photo(page, tmp_path):
    name = "<u>x<-u>.jpg"  # a name is text; gradio itself drops the slash that would end it
    (tmp_path / name).write_text("not a photo")
    upload(page, tmp_path / name)
    toast = page.wait_for_selector(".toast-body")
    text = toast.inner_text()
    assert f"{name}: not an image that can be opened" in text
    assert "Traceback" not in text and "/tmp" not in text
    assert not page.query_selector(".toast-body u")
    # and the page goes on: what cannot be shown is gone, and the box takes another photo
    page.wait_for_selector("input[type=file]", state="attached")
    page.wait_for_function("!document.querySelector('[data-testid=status-tracker]:not(.hide)')")
    draw_photo().save(tmp_path / "photo.png")
    upload(page, tmp_path / "photo.png")
    assert wait_for_caption(page)


def test_a_model_that_cannot_be_had(page, tmp_path):
    box = page.get_by_label("Model")
    box.fill("/etc")
    page.keyboard.press("Enter")
    text = page.wait_for_selector(".toast-body").inner_text()
    assert "/etc: choose a model of the list, or name one of the hub" in text
    draw_photo().save(tmp_path / "photo.png")
    upload(page, tmp_path / "photo.png")
    assert wait_for_caption(page), "the one before is back"
    box.fill("https://huggingface.co/datasets/you/photos")
    page.keyboard.press("Enter")
    page.get_by_text("a dataset of the hub, not a captioner").wait_for()


def test_the_camera_is_no_mirror(browser, address, tmp_path):
    """What is captioned is the scene as it is: its left half, red, on the left."""
    scene = Image.new("RGB", (320, 240), "blue")
    scene.paste("red", (0, 0, 160, 240))
    frame = io.BytesIO()
    scene.save(frame, "JPEG", quality=95)
    (tmp_path / "scene.mjpeg").write_bytes(frame.getvalue() * 30)
    camera = [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={tmp_path}/scene.mjpeg",
    ]
    with browser.browser_type.launch(executable_path=CHROMIUM, args=[*FLAGS, *camera]) as other:
        page = other.new_context(permissions=["camera"]).new_page()
        page.set_default_timeout(60_000)
        page.goto(address)
        page.get_by_label("Capture from camera").first.click()
        page.get_by_title("grant webcam access").click()
        page.wait_for_function("document.querySelector('video')?.videoWidth > 0")
        page.get_by_label("capture photo").click()
        page.wait_for_selector(DONE)
        left = page.evaluate(
            "() => { const image = document.querySelector('#caption-lens .stage img');"
            " const canvas = document.createElement('canvas'); canvas.width = canvas.height = 2;"
            " const context = canvas.getContext('2d'); context.drawImage(image, 0, 0, 2, 2);"
            " return [...context.getImageData(0, 0, 1, 1).data] }"
        )
        assert left[0] > 200 and left[2] < 60


def test_taking_the_photo_away_clears_the_page(page, tmp_path):
    draw_photo().save(tmp_path / "photo.png")
    upload(page, tmp_path / "photo.png")
    wait_for_caption(page)
    page.get_by_label("Remove Image").first.click()
    page.wait_for_selector("#caption-lens .lens[data-state=empty]")
    page.wait_for_selector(WORDS, state="detached")
    assert not page.query_selector(".toast-body")


def test_button_without_a_photo_and_a_photo_on_its_side(page, tmp_path):
    page.get_by_role("button", name="Caption", exact=True).click()
    assert "Choose a photo first" in page.wait_for_selector(".toast-body").inner_text()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: shown, the photo is 40 wide and 120 high
    draw_photo(120, 40).save(tmp_path / "turned.jpg", exif=exif)
    upload(page, tmp_path / "turned.jpg")
    wait_for_caption(page)
    width, height = page.evaluate(
        "() => { const i = document.querySelector('#caption-lens .stage img');"
        " return [i.naturalWidth, i.naturalHeight] }"
    )
    assert (width, height) == (256, 768)


def test_visitors_do_not_see_each_other(browser, page, address, checkpoint, tmp_path):
    """Two at once: each gets the caption of their own photo, and so do later questions."""
    photos = [draw_photo(), draw_photo(50, 90, (0, 0, 250))]
    other = Visit(browser, address)
    visitors = [page, other.page]
    for i, photo in enumerate(photos):
        photo.save(tmp_path / f"{i}.png")
    for i, visitor in enumerate(visitors):
        upload(visitor, tmp_path / f"{i}.png")
    captioner = load(checkpoint)
    for visitor, photo in zip(visitors, photos, strict=True):
        assert " ".join(wait_for_caption(visitor)) == captioner.caption(photo).text
    for visitor in visitors:
        visitor.get_by_text("Map settings").first.click()
        visitor.select_option("#caption-lens [name=layer]", "1")
    for visitor, width in zip(visitors, (768, 427), strict=True):
        visitor.wait_for_selector(DONE)
        assert (
            visitor.evaluate("document.querySelector('#caption-lens .stage img').naturalWidth")
            == width
        )
    other.close()


def test_an_example_is_one_click(page):
    page.get_by_role("button", name="cat").click()
    assert wait_for_caption(page)


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_and_a_reader(browser, address, tmp_path, dark):
    """At phone width nothing overflows and the caption comes first; axe finds nothing serious."""
    from axe_playwright_python.sync_playwright import Axe

    visit = Visit(
        browser,
        address + ("/?__theme=dark" if dark else ""),
        viewport={"width": 390, "height": 844},
    )
    visit.address = address
    page = visit.page
    draw_photo(300, 200).save(tmp_path / "photo.png")
    upload(page, tmp_path / "photo.png")
    wait_for_caption(page)
    assert page.locator("#caption-lens .words").bounding_box()["y"] < 844 / 2
    tabs = ["Caption", "Explain my sentence", "Many photos", "How cross-attention works"]
    page.set_viewport_size({"width": 1280, "height": 900})
    for name in tabs:
        page.set_viewport_size({"width": 1280, "height": 900})
        page.get_by_role("tab", name=name).click()
        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_function("document.documentElement.scrollWidth <= 390")
        wait_for_animations(page)
        found = Axe().run(page).response["violations"]
        serious = {
            f"{v['id']}: {node['html'][:120]}"
            for v in found
            if v["impact"] in ("serious", "critical")
            for node in v["nodes"]
        }
        assert not serious, (name, serious)
    visit.close()


def test_endpoints(address, checkpoint, tmp_path):
    gradio_client = pytest.importorskip("gradio_client")
    picture = draw_photo()
    picture.save(tmp_path / "photo.png")
    (tmp_path / "notes.jpg").write_text("not a photo")
    client = gradio_client.Client(address, verbose=False)
    photo = gradio_client.handle_file(tmp_path / "photo.png")
    captioner = load(checkpoint)
    expected = captioner.caption(picture, num_beams=3).text
    assert client.predict(photo, 3, api_name="/caption") == expected
    assert client.predict(photo, api_name="/caption") == captioner.caption(picture).text
    told = client.predict(photo, "a dog", api_name="/explain")
    assert [word["text"] for word in told["words"]] == ["a", "dog"]
    expected = captioner.explain(picture, "a dog").heatmap(1)
    np.testing.assert_allclose(told["words"][1]["map"], expected, atol=1e-6)
    with pytest.raises(gradio_client.exceptions.AppError, match="notes.jpg: not an image"):
        client.predict(gradio_client.handle_file(tmp_path / "notes.jpg"), api_name="/caption")
    with pytest.raises(gradio_client.exceptions.AppError, match="unknown method 'magic'"):
        client.predict(photo, "a dog", "magic", api_name="/explain")
    assert set(client.view_api(return_format="dict")["named_endpoints"]) == {
        "/caption",
        "/explain",
        "/caption_many",
        *(["/translate"] if SHIPPED_TRANSLATOR.is_dir() else []),
    }


def test_tools_for_a_language_model(address, checkpoint):
    """With the extra `gradio[mcp]`, an MCP client finds the endpoints and a tool works."""
    pytest.importorskip("mcp", reason="pip install 'gradio[mcp]' to run this")
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    picture = to_data_url(draw_photo())

    async def ask():
        async with streamablehttp_client(f"{address}/gradio_api/mcp/") as (read, write, _):
            async with ClientSession(read, write) as session:
                await session.initialize()
                tools = {tool.name: tool for tool in (await session.list_tools()).tools}
                name = next(name for name in tools if name.endswith("caption"))
                result = await session.call_tool(name, {"photo": picture})
                return tools, name, result

    tools, name, result = run_async(ask)
    assert (
        len(tools) == 3 + SHIPPED_TRANSLATOR.is_dir()
        and "Caption a photo" in tools[name].description
    )
    assert not result.isError
    seen = Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2])))
    assert result.content[0].text == load(checkpoint).caption(seen).text


def test_the_lesson_is_begun_once(page, tmp_path):
    """The photo comes along from the Caption tab; coming back to the tab changes nothing."""
    draw_photo().save(tmp_path / "photo.png")
    upload(page, tmp_path / "photo.png")
    wait_for_caption(page)
    lesson = page.get_by_role("tab", name="How cross-attention works")
    lesson.click()
    page.get_by_text("NumPy and torch compute").wait_for()
    page.evaluate(
        "() => { window.begun = 0; new MutationObserver(() => {"
        " if (document.body.innerText.includes('Looking at the photo')) window.begun++ })"
        ".observe(document.body, { subtree: true, childList: true, characterData: true }) }"
    )
    page.get_by_role("tab", name="Caption", exact=True).click()
    lesson.click()
    page.set_viewport_size({"width": 390, "height": 844})
    # another head is shown, of the same lesson; it comes after whatever the tab has asked for
    status = page.get_by_text("looked most at row")
    before = status.inner_text()
    page.get_by_label("Head, from 0").click()
    other = "1" if "head 0" in before else "0"
    page.get_by_role("option", name=other).click()
    page.get_by_text(f"head {other} of layer").wait_for()
    assert page.evaluate("window.begun") == 0
    assert page.get_by_text("NumPy and torch compute").is_visible()


def test_two_models_side_by_side(page, tmp_path):
    """The photo comes along; the same model twice is a toast; a photo that changes clears it."""
    draw_photo().save(tmp_path / "photo.png")
    upload(page, tmp_path / "photo.png")
    words = wait_for_caption(page)
    page.get_by_role("tab", name="Compare models").click()
    button = page.get_by_role("button", name="Compare", exact=True)
    other = page.get_by_label("Beside the model above")
    page.get_by_label("Remove Image").locator("visible=true").wait_for()  # the photo is there
    chosen = other.input_value()
    other.fill(page.get_by_label("Model", exact=True).input_value())
    other.press("Enter")
    button.click()
    page.get_by_text("Choose another model than the one above").wait_for()
    other.fill(chosen)
    other.press("Enter")
    button.click()
    page.wait_for_selector(".compare figure img")
    said = page.locator(".compare section").first.locator(".words span").all_inner_texts()
    assert [text.split()[0] for text in said] == words
    page.get_by_label("Remove Image").locator("visible=true").click()
    page.wait_for_selector(".compare-status")
