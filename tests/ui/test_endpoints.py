"""What programs ask the page for, by name."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import gradio as gr
import pytest

from tests.support.uploads import encode_png, zip_files
from ui.endpoints import add_endpoints
from ui.serving.captioners import Captioners
from ui.serving.translation import get_translator

ENDPOINTS = ["/caption", "/explain", "/caption_many"]
gradio_client = pytest.importorskip("gradio_client")


@pytest.fixture(scope="module")
def checkpoint(checkpoint):
    return str(checkpoint)  # as it is typed


@pytest.fixture(scope="module")
def address(checkpoint, tmp_path_factory):
    """A page with the endpoints alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPTIONLENS_CHECKPOINT", checkpoint)
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        with gr.Blocks() as demo:
            add_endpoints(Captioners())
        _, address, _ = demo.launch(
            _frontend=False,  # else gradio waits 3 s, too little on a busy machine
            prevent_thread_lock=True,
            quiet=True,
        )
        yield address
        demo.close()


async def messages_of(job):
    """What the page tells a client meanwhile."""
    return [update.log async for update in job if update.type == "status" and update.log]


def test_many_photos(address, checkpoint, tmp_path):
    client = gradio_client.Client(address, verbose=False)
    with_translator = ["/translate"] if get_translator() else []
    expected = [*ENDPOINTS, *with_translator]
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == expected
    (tmp_path / "03b.png").write_text("not a photo")
    zip_files(
        tmp_path, {"in/one.png": encode_png(), "two.png": encode_png((0, 0, 250)), "a.pdf": b"%PDF"}
    )
    files = [
        gradio_client.handle_file(path) for path in (tmp_path / "03b.png", tmp_path / "some.zip")
    ]
    job = client.submit(files=files, api_name="/caption_many")
    with ThreadPoolExecutor() as threads:  # in this one Playwright has an event loop
        messages = threads.submit(asyncio.run, messages_of(job)).result()
    assert ("Skipped 1 file in zips: no photos.", "info") in messages
    broken, one, two = job.result()
    assert set(broken) == {"image", "error"} and broken["error"].startswith("03b.png: not an image")
    assert [one["image"], two["image"]] == ["one.png", "two.png"]
    for record in (one, two):
        assert set(record) == {"image", "caption", "log_probability", "words", "checkpoint"}
        assert record["caption"] == " ".join(word["text"] for word in record["words"])
        assert record["checkpoint"] == checkpoint
    again = client.predict(files=files[1:], num_beams=1, model=checkpoint, api_name="/caption_many")
    assert [record["image"] for record in again] == ["one.png", "two.png"]
    for wrong, message in (
        ({"files": []}, "Add photos, or a zip"),
        ({"files": files, "model": "/etc"}, "/etc: choose a model"),
        ({"files": files, "num_beams": 11}, "maximum"),
    ):
        with pytest.raises(gradio_client.exceptions.AppError, match=message):
            client.predict(**wrong, api_name="/caption_many")
