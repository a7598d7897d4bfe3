"""What the page is told, and what it may ask: without a browser."""

import base64
import importlib
import io
import json
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from model import CheckpointError, OptionError
from tests.support.tiny import draw_photo, tiny_captioner
from tests.support.waiting import wait_until
from ui.errors import MAX_LENGTH, user_error, user_errors
from ui.serving import captioners, gpu
from ui.serving.captioners import MAX_LOADED, Captioners
from ui.tabs import caption as caption_tab
from ui.tabs.lens_requests import MapSettings, explain_for_lens, explain_heads, make_download
from ui.uploads import limits, photos


@pytest.fixture(scope="module")
def captioner():
    return tiny_captioner((42, 84), seed=1)


def maps_of(value):
    maps = value["maps"]
    bits = np.frombuffer(base64.b64decode(maps["data"]), np.uint8)
    scaled = bits.reshape(-1, maps["rows"], maps["cols"]) / 255
    return scaled * np.array(maps["peaks"])[:, None, None]


@pytest.mark.parametrize("method, layer, head", [("gradient", None, None), ("attention", 1, 0)])
def test_the_lens_gets_the_maps(captioner, method, layer, head):
    photo = draw_photo(90, 60)
    value = explain_for_lens(captioner, photo, "a dog runs", MapSettings(method, layer, head))
    explanation = captioner.explain(photo, "a dog runs")
    expected = np.stack(explanation.heatmaps(method, layer=layer, head=head))
    np.testing.assert_allclose(maps_of(value), expected, atol=expected.max() / 250)
    assert [w["text"] for w in value["words"]] == ["a", "dog", "runs"]
    assert value["first_word"] == int(np.argmax(explanation.gains))
    assert len(json.dumps(value)) < 20_000, "small enough to travel with every caption"


@pytest.mark.parametrize("method", ["gradient", "attention"])
def test_every_heads_map_is_that_of_the_explanation(captioner, method):
    photo = draw_photo(90, 60)
    value = explain_heads(captioner, photo, "a dog runs", method, key="mine")
    assert value["key"] == "mine", "whose maps they are"
    explanation = captioner.explain(photo, "a dog runs")
    shape = (3, value["layers"], value["heads"], value["rows"], value["cols"])
    bits = np.frombuffer(base64.b64decode(value["data"]), np.uint8).reshape(shape)
    assert shape == (3, 2, 2, 3, 6)
    for word, of_word in enumerate(bits):
        expected = np.array(
            [
                [explanation.heatmap(word, method, layer=i, head=j) for j in range(2)]
                for i in range(2)
            ]
        )
        assert of_word.max() == 255, "its heads share one scale"
        np.testing.assert_allclose(of_word / 255, expected / expected.max(), atol=1 / 250)
    with pytest.raises(OptionError, match="'occlusion' has no layers or heads"):
        explain_heads(captioner, photo, "a dog runs", "occlusion")


def test_the_lens_gets_what_a_word_looked_back_at(captioner):
    value = explain_for_lens(captioner, draw_photo(), "a dog runs")
    explanation = captioner.explain(draw_photo(), "a dog runs")
    for index, word in enumerate(value["words"]):
        assert word["earlier"] == pytest.approx(explanation.earlier_words(index), abs=1e-4)
    assert len(value["words"][2]["earlier"]) == 2


def test_a_word_that_does_not_need_the_photo_says_so(captioner, monkeypatch):
    explanation = captioner.explain(draw_photo(), "a dog runs")
    explanation = replace(explanation, gains=(0.0, 0.1, 3.0))
    monkeypatch.setattr(captioner, "explain", lambda *args, **kwargs: explanation)
    words = explain_for_lens(captioner, draw_photo(), "a dog runs")["words"]
    assert words[0]["fact"].startswith("“a” hardly needs the photo")
    assert words[2]["fact"].startswith("The photo makes it 20 times likelier.")


def test_a_caption_grows_and_is_then_whole(captioner):
    *partial, whole = caption_tab.write_caption(
        captioner, draw_photo(), num_beams=2, num_captions=2
    )
    assert [value["state"] for value in partial] == ["writing"] * len(partial)
    shown = Image.open(io.BytesIO(base64.b64decode(partial[0]["photo"].partition(",")[2])))
    assert shown.size == (768, 512) and not partial[0]["words"]
    assert not any("photo" in value for value in (*partial[1:], whole)), "sent once"
    assert whole["state"] == "done" and whole["continues"] and whole["hint"] == ""
    text = " ".join(word["text"] for word in whole["words"])
    assert text == captioner.caption(draw_photo(), num_beams=2).text
    assert [c["text"] for c in whole["captions"]] == [
        c.text for c in captioner.captions([draw_photo()], num_beams=2, num_captions=2)[0]
    ]
    *_, sampled = caption_tab.write_caption(
        captioner, draw_photo(), prefix="a dog", search=caption_tab.SAMPLING, temperature=0.5
    )
    assert [word["text"] for word in sampled["words"][:2]][0] == "a"


def test_words_come_no_faster_than_a_page_can_take_them(captioner, monkeypatch):
    counts = []
    for seconds in (0, 3600):
        monkeypatch.setattr(caption_tab, "UPDATE_SECONDS", seconds)
        counts.append(len(list(caption_tab.write_caption(captioner, draw_photo(), num_beams=2))))
    assert counts[0] > 5 and counts[1] == 3, "the photo, the first word, the whole"


def test_an_unlike_photo_is_told(captioner, monkeypatch):
    def is_unfamiliar(encoded):
        return encoded.image_features.shape == (19, 32)

    monkeypatch.setattr(
        captioner, "familiarity", types.SimpleNamespace(is_unfamiliar=is_unfamiliar)
    )
    *_, whole = caption_tab.write_caption(captioner, draw_photo(), num_beams=1)
    assert "unlike the ones this model learned from" in whole["hint"]


def test_what_a_page_sends_may_be_anything(captioner):
    ask = {"text": "a dog", "method": "gradient", "layer": None, "head": None}
    for changed, message in (
        ({"method": "magic"}, "unknown method"),
        ({"layer": "1"}, "layer must be a whole number"),
        ({"layer": True}, "layer must be a whole number"),
        ({"layer": 7}, "layer 7 does not exist"),
        ({"text": ""}, "no word to explain"),
        ({"text": "dog " * 300}, "reads at most"),
    ):
        values = {**ask, **changed}
        with pytest.raises(OptionError, match=message):
            make_download(captioner, draw_photo(), values["text"], values)
        with pytest.raises(OptionError, match=message):
            explain_for_lens(captioner, draw_photo(), values["text"], MapSettings.parse(values))


def test_captioners_are_loaded_when_asked_for(tmp_path, monkeypatch):
    folders = []
    for name in "abc":
        tiny_captioner().save_pretrained(tmp_path / name)
        folders.append(str(tmp_path / name))
    monkeypatch.setenv("CAPTIONLENS_CHECKPOINT", ", ".join(folders))
    captioners = Captioners()
    assert captioners.names[:4] == [*folders, "shipped"]
    first = captioners.get()
    assert captioners.get(folders[0]) is first
    for folder in folders[1:]:
        captioners.get(folder)
    assert len(captioners._loaded) == MAX_LOADED and captioners.get(folders[0]) is not first


@pytest.mark.parametrize("name", ["/etc", "../x", "assets/checkpoint", "a b", "runs/x/best"])
def test_a_visitor_names_no_folder_of_the_host(monkeypatch, name):
    monkeypatch.delenv("CAPTIONLENS_CHECKPOINT", raising=False)
    monkeypatch.setattr("ui.serving.captioners.load", lambda place: pytest.fail(f"loaded {place}"))
    with pytest.raises(CheckpointError, match="choose a model of the list"):
        Captioners().get(name)


@pytest.mark.parametrize("name", ["you/model", "https://huggingface.co/you/model/tree/main"])
def test_a_model_by_the_address_of_its_page(monkeypatch, name):
    monkeypatch.setenv("CAPTIONLENS_ALLOW_HUB", "1")
    asked = []
    monkeypatch.setattr(captioners, "try_checkpoint", lambda name: f"the files of {name}")
    monkeypatch.setattr(captioners, "load", lambda place: asked.append(place) or tiny_captioner())
    assert Captioners().get(name).name == "you/model"
    assert asked == ["the files of you/model"], "those that were tried"


def test_the_hub_is_for_visitors_only_where_the_host_says_so(monkeypatch):
    monkeypatch.setattr(captioners, "try_checkpoint", lambda name: pytest.fail(f"tried {name}"))
    monkeypatch.delenv("CAPTIONLENS_ALLOW_HUB", raising=False)
    offered = Captioners()
    assert not offered.allows_hub
    with pytest.raises(CheckpointError, match="you/model: choose a model of the list$"):
        offered.get("you/model")
    monkeypatch.setenv("CAPTIONLENS_ALLOW_HUB", "1")
    assert Captioners().allows_hub
    monkeypatch.setenv("SPACE_ID", "me/space")
    assert not Captioners().allows_hub


@pytest.mark.parametrize(
    "name",
    ["a\nb", "a\r\n\u2028b", "\x1b[31mred", "\ud83d", "x\x01", "<b>", "..", "~", "%2e%2e", "-", "*"]
    + ["hf://", "http://[", "a//b", "/dev/zero", "you/.git", "you/model@main", "C:\\x", "\u202eb"],
)
@pytest.mark.parametrize("allows_hub", ["", "1"])
def test_an_odd_name_is_one_line(monkeypatch, name, allows_hub):
    monkeypatch.delenv("CAPTIONLENS_CHECKPOINT", raising=False)
    monkeypatch.setenv("CAPTIONLENS_ALLOW_HUB", allows_hub)
    monkeypatch.setattr(captioners, "try_checkpoint", lambda name: pytest.fail(f"tried {name}"))
    with pytest.raises(gr.Error) as refusal, user_errors():
        Captioners().get(name)
    message = refusal.value.message
    assert message.isprintable() and "choose a model of the list" in message


def test_what_a_visitor_is_told_is_no_longer_than_can_be_read():
    told = user_error("<" * 10**6).message
    assert told == (MAX_LENGTH - 1) * "&lt;" + "…"


def test_the_hosts_own_are_not_tried(tmp_path, monkeypatch):
    tiny_captioner().save_pretrained(tmp_path)
    monkeypatch.setattr(captioners, "try_checkpoint", lambda name: pytest.fail(f"tried {name}"))
    monkeypatch.setenv("CAPTIONLENS_CHECKPOINT", str(tmp_path))
    assert Captioners().get().name == str(tmp_path)


def test_one_that_many_ask_for_is_loaded_once_and_leaves_nothing_behind(monkeypatch):
    may_load, loads = threading.Event(), []

    def load(checkpoint):
        loads.append(checkpoint)
        assert may_load.wait(60)
        if checkpoint == "you/broken":
            raise CheckpointError("broken")
        return tiny_captioner()

    monkeypatch.setattr(captioners, "load", load)
    monkeypatch.setattr(captioners, "try_checkpoint", lambda name: name)
    monkeypatch.setenv("CAPTIONLENS_ALLOW_HUB", "1")
    offered = Captioners()
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(offered.get, name) for name in ["you/model", "you/broken"] * 3]
        wait_until(lambda: len(loads) == 2)
        may_load.set()
        assert len({asked[i].result(60) for i in (0, 2, 4)}) == 1
        for i in (1, 3, 5):
            with pytest.raises(CheckpointError, match="broken"):
                asked[i].result(60)
    assert not offered._loading and list(offered._loaded) == ["you/model"]


def test_a_checkpoint_that_git_lfs_left_behind(tmp_path, monkeypatch):
    tiny_captioner().save_pretrained(tmp_path)
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    (tmp_path / "model.safetensors").write_text(pointer)
    monkeypatch.setenv("CAPTIONLENS_CHECKPOINT", str(tmp_path))
    with pytest.raises(CheckpointError, match="Git LFS"):
        Captioners().get()


def test_zero_gpu_where_it_is_there(monkeypatch):
    def handler():
        pass

    assert gpu.on_gpu(handler) is handler
    asked = []
    fake = types.SimpleNamespace(GPU=lambda duration: asked.append(duration) or (lambda f: (f, 1)))
    monkeypatch.setitem(sys.modules, "spaces", fake)
    try:
        assert importlib.reload(gpu).on_gpu(handler) == (handler, 1) and asked[0] <= 30
    finally:
        monkeypatch.undo()
        importlib.reload(gpu)


def test_a_photo_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_PHOTO_BYTES", limits.MEGABYTE)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    (tmp_path / "large.jpg").write_bytes(bytes(limits.MEGABYTE + 1))
    given = types.SimpleNamespace(url=None, path=tmp_path / "large.jpg", orig_name="my.jpg")
    with pytest.raises(gr.Error, match="my.jpg: larger than 1 MB"):
        photos.read_upload(given)
    address = "data:image/png;base64," + base64.b64encode(bytes(limits.MEGABYTE + 1)).decode()
    given = types.SimpleNamespace(url=address, path=None, orig_name=None)
    with pytest.raises(gr.Error, match="This photo: larger than 1 MB"):
        photos.read_upload(given)


def test_on_a_space_only_what_is_listed(monkeypatch):
    monkeypatch.delenv("CAPTIONLENS_CHECKPOINT", raising=False)
    monkeypatch.setattr("ui.serving.captioners.load", lambda place: pytest.fail(f"loaded {place}"))
    monkeypatch.setenv("SPACE_ID", "me/space")
    with pytest.raises(CheckpointError, match="choose a model of the list$"):
        Captioners().get("you/model")


def test_a_beginning_that_is_too_long_leaves_the_caption(captioner):
    with pytest.raises(OptionError, match="the beginning has .* tokens; it may have at most 12"):
        next(caption_tab.write_caption(captioner, draw_photo(), prefix="dog " * 40))
