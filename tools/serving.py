"""The app, started as people start it, in a process of its own."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Served(NamedTuple):
    """A running app: its address, its process, and the file that holds all that it prints."""

    address: str
    process: subprocess.Popen
    log: Path


def make_environment(folder: Path, checkpoint: Path | str = "", **changes: str) -> dict[str, str]:
    """What the app is started with: a checkpoint (the shipped one, if empty), its files in
    `folder`."""
    return {
        **os.environ,
        "GRADIO_ANALYTICS_ENABLED": "False",
        "CAPTIONLENS_CHECKPOINT": str(checkpoint),
        "GRADIO_TEMP_DIR": str(folder / "uploads"),
        **changes,
    }


@contextmanager
def serve_app(folder: Path, checkpoint: Path | str = "", **changes: str) -> Iterator[Served]:
    """The app, until the end of the block; its log is in `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "app.py"],
            cwd=ROOT,
            env=make_environment(folder, checkpoint, GRADIO_SERVER_PORT=str(port), **changes),
            stdout=out,
            stderr=out,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(address, timeout=5)
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
        yield Served(address, process, log)
    finally:
        process.terminate()
        process.wait(60)
