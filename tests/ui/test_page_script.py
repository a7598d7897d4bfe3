"""What holds for the whole page, in a browser: addresses of tabs, photos from anywhere."""

import base64
import io
import urllib.request
from html.parser import HTMLParser

import pillow_heif
import pytest
from PIL import Image

from tests.support.paths import ROOT
from tests.support.uploads import zip_files
from tools.serving import serve_app

pytestmark = pytest.mark.browser

EXAMPLES = ROOT / "assets" / "examples"
SEND_SCRIPT = """([content, kind]) => {
  const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0)), files = new DataTransfer();
  files.items.add(new File([bytes], "cat.jpg", { type: "image/jpeg" }));
  const options = { bubbles: true, cancelable: true };
  const event = kind === "paste"
    ? new ClipboardEvent(kind, { ...options, clipboardData: files })
    : new DragEvent(kind, { ...options, dataTransfer: files });
  document.querySelector("h1").dispatchEvent(event);
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with serve_app(tmp_path_factory.mktemp("page")) as app:
        yield app.address


def open_page(browser, address, width=1280):
    page = browser.new_page(viewport={"width": width, "height": 800}, reduced_motion="reduce")
    page.set_default_timeout(60_000)
    page.goto(address)
    return page


def wait_for_tab(page, name):
    page.wait_for_function(
        "name => document.querySelector('[role=tab][aria-selected=true]')?.textContent === name",
        arg=name,
    )


@pytest.mark.parametrize("width", [1280, 390])
def test_a_tab_has_an_address(browser, address, width):
    page = open_page(browser, f"{address}/#many-photos", width)
    wait_for_tab(page, "Many photos")
    page.reload()
    wait_for_tab(page, "Many photos")
    page.close()


BLOCK_STORAGE_SCRIPT = """Object.defineProperty(window, "sessionStorage", {
  get() { throw new DOMException("denied", "SecurityError"); },
});"""


@pytest.mark.parametrize("script", ["", BLOCK_STORAGE_SCRIPT], ids=["", "storage blocked"])
def test_nothing_goes_wrong_as_the_page_opens(browser, address, script):
    page = browser.new_page(reduced_motion="reduce")
    page.add_init_script(script)
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(address)
    page.wait_for_selector("#caption-lens .words")
    page.wait_for_function("window.captionLens?.restore")
    page.wait_for_timeout(1_000)  # what goes wrong is only marked, unseen, for screen readers
    assert page.locator(".block .error").count() == 0 and not errors
    page.close()


def test_back_goes_to_the_tab_before(browser, address):
    page = open_page(browser, address)
    wait_for_tab(page, "Caption")
    page.get_by_role("tab", name="Many photos").click()
    page.get_by_role("tab", name="How cross-attention works").click()
    assert page.url.endswith("#how-cross-attention-works")
    page.go_back()
    wait_for_tab(page, "Many photos")
    page.go_back()
    wait_for_tab(page, "Caption")
    page.close()


def read_caption(page):
    return page.inner_text("#caption-lens .announcement")


def wait_for_caption(page, text):
    page.wait_for_selector(f"#caption-lens .announcement:has-text('{text}')", state="attached")
    page.wait_for_selector("#caption-lens .lens[data-state=done]:not(.busy)")
    return read_caption(page)


def list_photos(page):
    """The names of the files in the boxes of the tab that is open."""
    return page.eval_on_selector_all(
        ".image-frame img",
        "all => all.filter(one => one.checkVisibility()).map(one => one.src.split('/').pop())",
    )


def test_an_example_has_an_address(browser, address):
    page = open_page(browser, f"{address}/#caption/cat")
    caption = wait_for_caption(page, "cat")
    assert list_photos(page) == ["cat.jpg"]
    page.get_by_role("button", name="scissors").first.click()
    wait_for_caption(page, "scissors")
    assert page.url.endswith("#caption/scissors")
    page.go_back()
    assert wait_for_caption(page, "cat") == caption
    page.get_by_label("Remove Image").first.click()
    page.wait_for_selector("#caption-lens .lens[data-state=empty]")
    page.locator("input[type=file]").first.set_input_files(EXAMPLES / "coffee.jpg")
    page.wait_for_function("location.hash === '#caption'")  # own photos have no address
    page.close()


def test_a_reload_keeps_photo_caption_and_options(browser, address):
    page = open_page(browser, address)
    page.wait_for_selector("#caption-lens .lens[data-state=done]")
    page.get_by_label("Remove Image").first.click()
    page.wait_for_selector("#caption-lens .lens[data-state=empty]")
    page.get_by_text("Options", exact=True).click()
    page.get_by_label("Begin with").fill("A plate")
    page.locator("input[type=file]").first.set_input_files(EXAMPLES / "coffee.jpg")
    caption = wait_for_caption(page, "A plate")
    page.reload()
    assert wait_for_caption(page, "A plate") == caption
    page.wait_for_selector(".image-frame img")
    assert list_photos(page) == ["coffee.jpg"]
    if not page.get_by_label("Begin with").is_visible():
        page.get_by_text("Options", exact=True).click()
    assert page.get_by_label("Begin with").input_value() == "A plate"
    page.close()


def test_one_photo_for_all_tabs(browser, address):
    page = open_page(browser, address)
    page.get_by_role("button", name="cat").first.click()
    caption = wait_for_caption(page, "cat").removeprefix("Caption: ")
    page.get_by_role("tab", name="Explain my sentence").click()
    page.wait_for_function(
        "text => document.querySelector('#explain-sentence textarea, #explain-sentence input')"
        ".value === text",
        arg=caption,
    )
    assert list_photos(page) == ["cat.jpg"]
    page.get_by_label("Your sentence").fill("A sentence of mine.")
    for name in ("Caption", "Explain my sentence"):
        page.get_by_role("tab", name=name, exact=True).click()
        wait_for_tab(page, name)
    page.wait_for_timeout(500)
    assert page.get_by_label("Your sentence").input_value() == "A sentence of mine."
    page.get_by_label("Remove Image").locator("visible=true").click()
    page.locator("[role=tabpanel]:visible input[type=file]").set_input_files(
        EXAMPLES / "scissors.jpg"
    )
    page.wait_for_selector("[role=tabpanel]:visible .image-frame img")
    page.get_by_role("tab", name="Caption", exact=True).click()
    page.wait_for_selector("#caption-lens .lens[data-state=empty]")
    assert list_photos(page) == ["scissors.jpg"]
    page.get_by_role("tab", name="How cross-attention works").click()
    page.get_by_text("NumPy and torch compute").wait_for()
    assert list_photos(page) == ["scissors.jpg"]
    page.close()


def test_a_row_of_many_photos_opens_in_caption(browser, address, tmp_path):
    page = open_page(browser, f"{address}/#many-photos")
    wait_for_tab(page, "Many photos")
    path = zip_files(tmp_path, {"in/plate.jpg": (EXAMPLES / "coffee.jpg").read_bytes()}).path
    files = page.locator("input[type=file][multiple]")
    files.set_input_files([EXAMPLES / "cat.jpg", path])
    page.locator(".file-preview tr").nth(1).wait_for()
    page.get_by_role("button", name="Write captions").click()
    page.get_by_text("2 of 2 done.").wait_for()
    link = page.locator(".many-table a").nth(1)
    caption = link.inner_text()
    link.click()
    wait_for_tab(page, "Caption")
    wait_for_caption(page, caption)
    assert page.url.endswith("#caption") and list_photos(page) == ["plate.jpg"]
    page.go_back()
    wait_for_tab(page, "Many photos")
    assert page.locator(".many-table tbody tr").count() == 2
    page.close()


def test_on_a_phone_every_tab_is_in_sight(browser, address):
    page = open_page(browser, address, 390)
    tabs = page.get_by_role("tab")
    tabs.last.wait_for()
    assert tabs.count() == 4
    for tab in tabs.all():
        box = tab.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390 and box["height"] >= 24
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    tabs.last.click()
    wait_for_tab(page, "How cross-attention works")
    page.close()


def test_a_photo_that_the_browser_cannot_draw_is_shown_all_the_same(browser, address, tmp_path):
    pillow_heif.from_pillow(Image.open(EXAMPLES / "cat.jpg")).save(tmp_path / "cat.heic")
    page = open_page(browser, address)
    page.wait_for_selector("#caption-lens .lens[data-state=done]")
    page.get_by_label("Remove Image").first.click()
    page.wait_for_selector("#caption-lens .lens[data-state=empty]")
    page.locator("input[type=file]").first.set_input_files(tmp_path / "cat.heic")
    wait_for_caption(page, "cat")
    page.wait_for_function("document.querySelector('.image-frame img').naturalWidth > 0")
    page.close()


def test_what_gradio_does_not_tell_is_told(browser, address, tmp_path):
    page = open_page(browser, address)
    page.wait_for_selector("#caption-lens .lens[data-state=done]")
    page.get_by_label("Remove Image").first.click()
    page.wait_for_selector("#caption-lens .lens[data-state=empty]")
    note = page.locator("#page-note")
    assert not note.is_visible()
    for name in ("page.pdf", "photos.zip", "notes.txt"):
        (tmp_path / name).write_bytes(b"hello")
        page.locator("input[type=file]").first.set_input_files(tmp_path / name)
        page.wait_for_selector(f"#page-note:has-text('{name} is no photo.')")
    page.get_by_label("Paste from clipboard").first.click()
    page.wait_for_selector("#page-note:has-text('Press Ctrl+V')")
    page.get_by_label("Capture from camera").first.click()
    page.get_by_title("grant webcam access").click()
    page.wait_for_selector("#page-note:has-text('There is no camera')")
    assert not page.query_selector(".toast-body")
    page.close()


def test_a_link_shows_our_title_and_picture(address):
    parser = MetaParser()
    parser.feed(urllib.request.urlopen(address).read().decode())
    assert parser.properties["og:title"] == "CaptionLens"
    assert parser.properties["og:url"] == f"{address}/"
    assert "each of its words looked" in parser.properties["og:description"]
    assert not [value for value in parser.values if "radio" in value or "{url}" in value]
    picture = Image.open(io.BytesIO(urllib.request.urlopen(parser.properties["og:image"]).read()))
    assert picture.size == (1200, 630)
    secure = urllib.request.Request(
        address, headers={"X-Forwarded-Proto": "https", "Host": "example.org"}
    )
    parser.feed(urllib.request.urlopen(secure).read().decode())
    assert parser.properties["og:image"] == "https://example.org/preview.jpg"


class MetaParser(HTMLParser):
    """The page's tags of Open Graph and Twitter; the first of each counts."""

    def __init__(self):
        super().__init__()
        self.properties, self.values = {}, []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        name = values.get("property") or values.get("name") or ""
        if tag == "html":
            self.properties = {}
        if tag == "meta" and name.startswith(("og:", "twitter:")):
            self.properties.setdefault(name, values["content"])
            self.values.append(values["content"])


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_a_photo_may_come_in_anywhere(browser, address, kind):
    page = open_page(browser, address)
    page.wait_for_selector("#caption-lens .lens[data-state=done]")
    photo = (ROOT / "assets" / "examples" / "cat.jpg").read_bytes()
    page.evaluate(SEND_SCRIPT, [base64.b64encode(photo).decode(), kind])
    page.wait_for_function(
        "document.querySelector('#caption-lens .announcement').textContent.includes('a cat')"
    )
    page.close()
