"""What holds for the whole page, in a browser: addresses of tabs, photos from anywhere."""

import base64

import pytest

from tests.support.paths import ROOT
from tools.serving import serve_app

pytestmark = pytest.mark.browser

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
