"""What a visitor of the page waits for: `python -m benchmarks.page`.

The app runs as people start it, in a process of its own, and is warm. What the page sends when a
photo is chosen is sent to it, and what comes is taken but not drawn: browsers do that on the
visitor's machine.
"""

import json
import secrets
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from benchmarks.photo import EXAMPLES, encode_jpeg
from benchmarks.timing import Row, print_rows
from model.images import find_images
from tools.serving import serve_app

API = "/gradio_api"
ROUNDS = 9


def measure() -> Iterator[Row]:
    photo = encode_jpeg(find_images(EXAMPLES)[0])
    with (
        tempfile.TemporaryDirectory() as folder,
        serve_app(Path(folder)) as app,
        httpx.Client(base_url=app.address, timeout=60) as client,
    ):
        config = client.get("/config").json()
        taken = [choose_photo(client, config, photo) for _ in range(ROUNDS + 2)][2:]
    part = "the page, warm: from the choice of a phone's photo"
    for place, what in enumerate(("to the first word", "to all maps")):
        yield Row(part, what, 1e3 * statistics.median(t[place] for t in taken), "ms")


def choose_photo(client: httpx.Client, config: dict[str, Any], photo: bytes) -> tuple[float, float]:
    """Seconds until the first word has come, and until the whole caption has come with its maps."""
    # the first photo of the page is that of its first tab
    image = next(c["id"] for c in config["components"] if c["type"] == "image")
    event = next(d for d in config["dependencies"] if [image, "input"] in d["targets"])
    values = {c["id"]: c["props"].get("value") for c in config["components"]}
    session = secrets.token_hex(6)
    start = time.perf_counter()
    [path] = client.post(f"{API}/upload", files={"files": ("photo.jpg", photo)}).json()
    values[image] = {"path": path, "meta": {"_type": "gradio.FileData"}}
    asked = {
        "data": [values[i] for i in event["inputs"]],
        "fn_index": event["id"],
        "session_hash": session,
    }
    client.post(f"{API}/queue/join", json=asked).raise_for_status()
    came = []
    with client.stream("GET", f"{API}/queue/data", params={"session_hash": session}) as lines:
        for line in lines.iter_lines():
            if line.startswith("data: "):
                message = json.loads(line.removeprefix("data: "))
                came += [time.perf_counter() - start] * (message["msg"] == "process_generating")
                if message["msg"] == "process_completed":
                    [value] = message["output"]["data"]
                    if not message["success"] or value.get("state") != "done":
                        raise RuntimeError(f"the page could not caption the photo: {message}")
                    break
    return came[1], came[-1]  # the photo itself comes before the first word


if __name__ == "__main__":
    print_rows(measure())
