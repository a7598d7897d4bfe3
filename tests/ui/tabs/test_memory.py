"""A memory on the page: chosen from the menu, a visitor's own, and never another visitor's."""

import base64
import csv
import json
from pathlib import Path

import pytest
import torch

from model.errors import DataError, ImageError, OptionError
from model.memory import Memory
from tests.support.tiny import draw_photo, tiny_captioner, tiny_captioner_with_memory
from tests.support.uploads import encode_png, zip_files
from tests.support.waiting import wait_until
from tools.serving import serve_app
from ui.tabs import memory as memory_tab
from ui.tabs.caption import write_caption
from ui.tabs.lens_requests import MapSettings, explain_for_lens, explain_heads, make_download
from ui.tabs.many_captions import caption_uploads
from ui.tabs.many_files import make_csv
from ui.tabs.memory import NONE, OWN, SHIPPED_MEMORY, choose_memory, remember_uploads
from ui.uploads.files import Upload

HOSTILE = "A <img src=x onerror=x()> ${1+1} dog."
DONE = "#caption-lens .lens[data-state=done]:not(.busy)"
REMEMBERED = "#caption-lens .memory li"


@pytest.fixture(scope="module")
def captioner():
    return tiny_captioner_with_memory((42, 84), seed=37)


def zip_captions(folder: Path, name: str, *captions: str) -> Upload:
    """A zip of as many photos with a caption each."""
    members = {}
    for i, caption in enumerate(captions):
        members[f"{i}.png"] = encode_png((30 * i, 200 - 30 * i, 90))
        members[f"{i}.txt"] = caption
    return zip_files(folder, members, name)


def remember(captioner, *uploads) -> tuple[Memory, str]:
    """The memory of these zips, and the line on it."""
    *earlier, (memory, status) = remember_uploads(captioner, uploads)
    assert all(unfinished is None for unfinished, _ in earlier)
    return memory, status


def test_zips_are_remembered_and_what_cannot_be_read_is_said(captioner, tmp_path):
    members = {"a.png": encode_png(), "a.txt": "A hill.", "b.png": b"no photo", "b.txt": "B."}
    uploads = [zip_files(tmp_path, members), zip_captions(tmp_path, "more.zip", "A cat.", "A dog.")]
    memory, status = remember(captioner, *uploads)
    assert [entry.captions for entry in memory.entries] == [("A hill.",), ("A cat.",), ("A dog.",)]
    assert "3 photos remembered. Write a caption. 1 left out: b.png: not an image" in status
    nothing = zip_files(tmp_path, {"<b>.png": b"no photo", "<b>.txt": "B."}, "nothing.zip")
    with pytest.raises(ImageError, match="not an image"):
        remember(captioner, nothing)
    with pytest.raises(DataError, match="found neither"):
        remember(captioner, zip_files(tmp_path, {"a.png": encode_png()}, "mute.zip"))
    _, status = remember(captioner, nothing, uploads[0])
    assert "&lt;b&gt;" in status and "<b>" not in status


def test_a_name_in_two_zips_is_one_line_before_any_work(captioner, tmp_path, monkeypatch):
    uploads = [zip_captions(tmp_path, name, "A cat.") for name in ("one.zip", "two.zip")]
    monkeypatch.setattr(Memory, "build", lambda *_, **__: Memory((), torch.zeros(0, 64), "", ""))
    with pytest.raises(DataError, match=r"^0\.png: in one\.zip and in two\.zip; put both into one"):
        remember(captioner, *uploads)


def test_each_photo_is_handled_once(captioner, tmp_path, monkeypatch):
    """Whatever came before is not copied with every few photos."""
    upload = zip_captions(tmp_path, "many.zip", *(f"Caption {i}." for i in range(7)))
    monkeypatch.setattr(memory_tab, "BATCH_SIZE", 2)
    joined = []
    join = Memory.join
    monkeypatch.setattr(Memory, "join", lambda *m: joined.append([len(x) for x in m]) or join(*m))
    memory, _ = remember(captioner, upload)
    assert joined == [[0, 2, 2, 2, 1]]
    assert [e.captions for e in memory.entries] == [(f"Caption {i}.",) for i in range(7)]


def test_the_lens_says_what_was_remembered_and_looked_at(captioner, tmp_path):
    memory, _ = remember(captioner, zip_captions(tmp_path, "a.zip", "A cat.", "Two dogs run."))
    *partial, value = write_caption(captioner, draw_photo(), memory=memory, memory_name=OWN)
    assert not any("memory" in earlier for earlier in partial)
    shown = value["memory"]
    assert shown["name"] == OWN
    assert {tuple(c["words"]) for c in shown["captions"]} == {
        ("A", "cat."),
        ("Two", "dogs", "run."),
    }
    text = " ".join(word["text"] for word in value["words"])
    assert text == captioner.caption(draw_photo(), memory=memory).text
    explanation = captioner.explain(draw_photo(), text, memory=memory)
    for index, share in enumerate(shown["shares"]):
        assert share == pytest.approx(explanation.memory_share(index), abs=1e-4)
        assert list(map(len, shown["weights"][index])) == [
            len(c["words"]) for c in shown["captions"]
        ]
        assert sum(map(sum, shown["weights"][index])) == pytest.approx(share, abs=1e-3)
    assert "memory" not in list(write_caption(captioner, draw_photo()))[-1]


def test_all_that_a_lens_asks_for_looks_at_the_memory(captioner, tmp_path):
    memory, _ = remember(captioner, zip_captions(tmp_path, "a.zip", "A cat.", "Two dogs run."))
    photo, text = draw_photo(), "A dog runs"
    settings = MapSettings("attention")
    plain, borrowed = (
        explain_for_lens(captioner, photo, text, settings, memory=m, memory_name=OWN)
        for m in (None, memory)
    )
    assert plain["maps"]["data"] != borrowed["maps"]["data"] and "memory" not in plain
    heads = [explain_heads(captioner, photo, text, "attention", m)["data"] for m in (None, memory)]
    assert heads[0] != heads[1]
    url = make_download(captioner, photo, text, {"kind": "json"}, memory)["url"]
    record = json.loads(base64.b64decode(url.partition("base64,")[2]))
    assert {r["caption"] for r in record["remembered"]} == {"A cat.", "Two dogs run."}


def test_many_photos_borrow_from_it(captioner, tmp_path):
    memory, _ = remember(captioner, zip_captions(tmp_path, "a.zip", "A cat.", "Two dogs run."))
    draw_photo(90, 60).save(tmp_path / "photo.png")
    photos = [Upload(str(tmp_path / "photo.png"), "photo.png")]
    [[(record, _)]] = caption_uploads(captioner, photos, memory=memory, memory_name=OWN)
    expected = captioner.caption(tmp_path / "photo.png", memory=memory)
    assert record["caption"] == expected.text and record["memory"] == OWN
    assert {other["caption"] for other in record["remembered"]} == {"A cat.", "Two dogs run."}
    [row] = csv.DictReader(make_csv([record]).decode("utf-8-sig").splitlines())
    assert "Two dogs run." in row["remembered"]


def test_what_a_page_may_name(captioner, tmp_path, monkeypatch):
    monkeypatch.setattr(memory_tab, "SHIPPED_FOLDER", tmp_path / "shipped")
    memory, _ = remember(captioner, zip_captions(tmp_path, "a.zip", "A cat."))
    assert choose_memory(NONE, memory) is None
    assert choose_memory(OWN, memory) is memory
    for name, message in ((OWN, "add a zip of captioned"), ("../x", "choose a memory of the list")):
        with pytest.raises(OptionError, match=message):
            choose_memory(name, None)
    with pytest.raises(OptionError, match="choose a memory of the list"):
        choose_memory(SHIPPED_MEMORY, memory)
    memory.save(tmp_path / "shipped")
    memory_tab.load_shipped_memory.cache_clear()
    assert choose_memory(SHIPPED_MEMORY, None).entries == memory.entries
    memory_tab.load_shipped_memory.cache_clear()


def test_a_captioner_that_has_not_learned_it_has_no_menu(captioner):
    assert memory_tab.can_remember(captioner)
    assert not memory_tab.can_remember(tiny_captioner())


@pytest.fixture(scope="module")
def address(captioner, tmp_path_factory):
    folder = tmp_path_factory.mktemp("app")
    captioner.save_pretrained(folder / "checkpoint", torch.float32)
    with serve_app(folder, folder / "checkpoint") as app:
        yield app.address
        assert "Traceback" not in app.log.read_text()


def open_page(browser, address):
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(60_000)
    page.goto(address)
    page.wait_for_selector("input[type=file]", state="attached")
    return page


def choose(page, name):
    page.get_by_label("Memory", exact=True).click()
    page.get_by_role("option", name=name).click()


def add_zip(page, upload):
    page.locator("input[type=file][accept='.zip']").first.set_input_files(upload.path)


def write(page, photo):
    page.locator("#caption-photo input[type=file]").set_input_files(photo)
    page.wait_for_selector(DONE)


@pytest.mark.browser
def test_two_visitors_memories_never_mix(browser, address, tmp_path):
    draw_photo(90, 60).save(tmp_path / "photo.png")
    photos = {"one": "A red kite.", "two": "A blue boat."}
    pages = {}
    for name, caption in photos.items():
        page = pages[name] = open_page(browser, address)
        choose(page, OWN)
        add_zip(page, zip_captions(tmp_path, f"{name}.zip", caption, HOSTILE))
        page.get_by_text("2 photos remembered. Write a caption.").wait_for()
    for name, page in pages.items():
        page.get_by_role("button", name="Options").click()
        page.get_by_label("Begin with").fill("A dog")
        write(page, tmp_path / "photo.png")
        rows = page.locator(REMEMBERED).all_inner_texts()
        assert any(photos[name] in row for row in rows)
        assert any(HOSTILE in row for row in rows), "what people wrote is text"
        assert page.locator("img[src=x]").count() == 0
        other = next(caption for key, caption in photos.items() if key != name)
        assert other not in page.inner_text("body")
        told = []
        for word in page.locator("#caption-lens .word").all()[:2]:
            word.click()
            told.append(page.locator("#caption-lens .from-memory").inner_text())
        assert all("fell on remembered captions: most on “" in sentence for sentence in told)
        assert told[0] != told[1]
    third = open_page(browser, address)  # who has none
    choose(third, OWN)
    third.locator("#caption-photo input[type=file]").set_input_files(tmp_path / "photo.png")
    third.get_by_text("add a zip of captioned photos under Memory first").first.wait_for()
    choose(third, NONE)
    third.get_by_role("button", name="Caption", exact=True).click()
    third.wait_for_selector(DONE)
    assert third.locator("#caption-lens .memory").is_hidden()
    for page in (*pages.values(), third):
        page.context.close()


@pytest.mark.browser
def test_other_maps_keep_the_memory_and_a_bad_zip_is_one_line(browser, address, tmp_path):
    draw_photo(90, 60).save(tmp_path / "photo.png")
    page = open_page(browser, address)
    choose(page, OWN)
    add_zip(page, zip_files(tmp_path, {"a.png": encode_png()}, "mute.zip"))
    assert "mute.zip: found neither" in page.wait_for_selector(".toast-body").inner_text()
    page.get_by_text(memory_tab.FAILED).wait_for()
    page.locator(".block").filter(has_text="A zip of captioned").get_by_label("Clear").last.click()
    add_zip(page, zip_captions(tmp_path, "a.zip", "A red kite."))
    page.get_by_text("1 photos remembered. Write a caption.").wait_for()
    write(page, tmp_path / "photo.png")
    page.locator("#caption-lens summary").click()
    page.locator("#caption-lens [name=method]").select_option("attention")
    page.wait_for_selector(DONE)
    assert page.locator(REMEMBERED).count() == 1
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.context.close()


@pytest.mark.browser
def test_a_sentence_looks_at_the_memory_and_a_reload_keeps_the_choice(browser, address, tmp_path):
    draw_photo(90, 60).save(tmp_path / "photo.png")
    page = open_page(browser, address)
    write(page, tmp_path / "photo.png")
    page.get_by_role("tab", name="Explain my sentence").click()
    page.wait_for_selector("[role=tabpanel]:visible .image-frame img")
    held = []  # questions about heads
    page.route(
        "**/queue/join*",
        lambda route: (
            held.append(route) if '"key":' in route.request.post_data else route.continue_()
        ),
    )

    def explain():
        page.get_by_role("button", name="Explain", exact=True).click()
        page.wait_for_selector(f"{lens}[data-state=done]:not(.busy)")

    lens = "#explain-lens .lens"
    page.get_by_label("Your sentence").fill("A dog runs")
    explain()
    page.locator(f"{lens} summary").click()
    page.click(f"{lens} [name=heads]")
    choose(page, OWN)
    add_zip(page, zip_captions(tmp_path, "a.zip", "A red kite."))
    page.get_by_text("1 photos remembered. Write a caption.").wait_for()
    explain()
    page.locator(f"{lens} .memory li").get_by_text("A red kite.").first.wait_for()
    wait_until(lambda: page.wait_for_timeout(20) or len(held) == 2)
    held[0].continue_()
    page.wait_for_timeout(1_000)
    assert not page.locator(f"{lens} .head").count(), "these are of no memory"
    held[1].continue_()
    page.wait_for_selector(f"{lens} .head")
    page.reload()
    page.wait_for_selector(f"{lens}", state="attached")
    page.wait_for_function(
        "name => [...document.querySelectorAll('#top input')].some(one => one.value === name)",
        arg=OWN,
    )
    page.context.close()


@pytest.mark.browser
def test_photos_that_are_taken_away_end_their_work(browser, address, tmp_path):
    page = open_page(browser, address)
    choose(page, OWN)
    add_zip(page, zip_captions(tmp_path, "a.zip", *(f"Kite {i}." for i in range(400))))
    page.get_by_text("photos remembered …").wait_for()
    page.locator(".block").filter(has_text="A zip of captioned").get_by_label("Clear").last.click()
    page.get_by_text(memory_tab.HOW_TO).wait_for()
    page.wait_for_timeout(1_000)
    assert page.get_by_text(memory_tab.HOW_TO).is_visible() and not page.query_selector(
        ".toast-body"
    )
    add_zip(page, zip_captions(tmp_path, "b.zip", "A blue boat."))
    page.get_by_text("1 photos remembered. Write a caption.").wait_for()
    page.context.close()
