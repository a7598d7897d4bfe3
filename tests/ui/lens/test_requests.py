"""What a lens asks for in a browser, where requests fail or overtake each other."""

import json

import pytest

from tests.support.tiny import draw_photo
from tests.support.waiting import wait_until
from tools.serving import serve_app

pytestmark = pytest.mark.browser

LENS = "#caption-lens .lens"
DONE = f"{LENS}[data-state=done]:not(.busy)"


@pytest.fixture(scope="module")
def address(checkpoint, tmp_path_factory):
    with serve_app(tmp_path_factory.mktemp("app"), checkpoint) as app:
        yield app.address
        assert "Traceback" not in app.log.read_text()


@pytest.fixture
def page(browser, address, tmp_path):
    """The page with a caption."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page.set_default_timeout(60_000)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    draw_photo(90, 60).save(tmp_path / "photo.png")
    page.locator("input[type=file]").first.set_input_files(tmp_path / "photo.png")
    page.wait_for_selector(DONE)
    page.locator(f"{LENS} summary").click()
    yield page
    assert not errors
    page.close()


@pytest.fixture
def held(page):
    """The lens's requests from now on, each held until it is answered here."""
    routes = []

    def hold(route):
        if isinstance(json.loads(route.request.post_data).get("event_data"), dict):
            routes.append(route)
        else:
            route.continue_()

    page.route("**/queue/join*", hold)
    return routes


def wait_for(page, listed, count):
    """Until so many are listed by what the page does."""
    wait_until(lambda: page.wait_for_timeout(20) or len(listed) >= count)


def refuse(page, route, reason):
    route.fulfill(status=429, json={"detail": reason})
    page.get_by_text(reason).wait_for()


def choose_method(page, held, method):
    page.select_option(f"{LENS} [name=method]", method)
    wait_for(page, held, 1)
    return held.pop()


def read_announcement(page):
    return page.inner_text(f"{LENS} .announcement")


def test_what_fails_marks_no_newer_request_as_failed(page, held):
    older, newer = (choose_method(page, held, name) for name in ("attention", "rollout"))
    refuse(page, older, "the older")
    page.wait_for_timeout(200)
    assert page.query_selector(f"{LENS}.busy") and read_announcement(page).startswith("Finding")
    newer.continue_()
    page.wait_for_selector(DONE)
    assert page.input_value(f"{LENS} [name=method]") == "rollout"
    assert read_announcement(page).startswith("Caption: ")


def test_where_none_is_left_the_lens_shows_what_was_there(page, held):
    before = page.input_value(f"{LENS} [name=method]")
    older, newer = (choose_method(page, held, name) for name in ("attention", "rollout"))
    refuse(page, newer, "the newer")
    page.wait_for_timeout(200)
    assert page.query_selector(f"{LENS}.busy"), "the older one may still come"
    refuse(page, older, "the older")
    page.wait_for_selector(DONE)
    assert read_announcement(page) == "That did not work."
    assert page.input_value(f"{LENS} [name=method]") == before
    choose_method(page, held, "attention").continue_()
    page.wait_for_selector(DONE)
    assert page.input_value(f"{LENS} [name=method]") == "attention"


def test_heads_and_files_that_fail_end_nothing_else(page, held):
    page.click(f"{LENS} [name=heads]")
    wait_for(page, held, 1)
    heads = held.pop()
    page.click(f"{LENS} [name=json]")
    wait_for(page, held, 1)
    file = held.pop()
    maps = choose_method(page, held, "attention")
    refuse(page, heads, "the heads")
    page.wait_for_selector(f"{LENS} .heads", state="hidden")
    assert page.locator(f"{LENS} [name=json]").is_disabled()
    refuse(page, file, "the file")
    page.wait_for_selector(f"{LENS} [name=json]:enabled:has-text('Save data')")
    assert page.query_selector(f"{LENS}.busy")
    maps.continue_()
    page.wait_for_selector(DONE)
    assert page.input_value(f"{LENS} [name=method]") == "attention"


def test_both_files_can_be_asked_for_at_once(page, held):
    for name in ("png", "json"):
        page.click(f"{LENS} [name={name}]")
    wait_for(page, held, 2)
    names = set()
    page.on("download", lambda download: names.add(download.suggested_filename))
    for route in held:
        route.continue_()
    page.wait_for_selector(f"{LENS} [name=png]:enabled")
    page.wait_for_selector(f"{LENS} [name=json]:enabled")
    wait_for(page, names, 2)
    assert names == {"captionlens.png", "captionlens.json"}


def test_what_is_told_again_is_shown_once(page):
    page.get_by_role("tab", name="Explain my sentence").click()
    page.wait_for_selector("[role=tabpanel]:visible .image-frame img")
    page.get_by_label("Your sentence").fill(" ")
    lines = page.locator(".toast-message-item")
    for count in (1, 2, 3):
        page.get_by_role("button", name="Explain", exact=True).click()
        lines.nth(count - 1).wait_for(state="attached")
        assert page.locator(".toast-message-item:visible").count() == 1
    assert not page.locator(".toast-count:visible, .toast-separator:visible").count()
    page.get_by_role("tab", name="Many photos").click()
    page.get_by_role("button", name="Write captions").click()
    page.get_by_text("Add photos, or a zip of photos, first.").wait_for()
    assert page.locator(".toast-message-item:visible").count() == 2
