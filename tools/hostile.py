"""Visitors who mean harm, for `python -m tools.soak`: they forge, send too much, or leave."""

import json
import random
import secrets
import socket
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

import httpx

ADDRESS = "203.0.113.9"  # all of them have one; others have one each
HEADERS = {"X-Forwarded-For": ADDRESS}
BIG = b'{"data": [{"url": "data:image/png;base64,' + bytes(40 * 2**20)  # more than may be
UPLOAD = secrets.token_bytes(5 * 2**20)


class HostileVisitor:
    """One of them, until `leaving` is set."""

    def __init__(self, page: str, photo: str, leaving: threading.Event, seed: str):
        self.page, self.photo, self.leaving = page, photo, leaving
        self.draw = random.Random(seed)
        self.answered: Counter[str] = Counter()
        self.client = httpx.Client(base_url=page, headers=HEADERS, timeout=60)

    def visit(self) -> None:
        """Do one harm after the other."""
        harms = (
            self.forge,
            self.send_too_much,
            self.never_read,
            self.leave,
            self.drip,
            self.upload,
        )
        while not self.leaving.is_set():
            harm = self.draw.choice(harms)
            try:
                self.answered[f"{harm.__name__} {harm()}"] += 1
            except httpx.HTTPError as error:
                self.answered[f"{harm.__name__} {type(error).__name__}"] += 1
            self.leaving.wait(0.2)

    def forge(self) -> int:
        """A file of the host, or the upload folder itself, as a photo."""
        path = self.draw.choice(["/etc/passwd", "/", self.photo.rsplit("/", 2)[0], "\x00", "../.."])
        return self._call("caption", [_describe(path), 1, ""])

    def send_too_much(self) -> int:
        """A photo in an address, longer than may be."""
        return self.client.post("/gradio_api/call/caption", content=BIG).status_code

    def never_read(self) -> int:
        """Many photos, and occlusion, whose answers nobody reads; each time as somebody new."""
        session = secrets.token_hex(6)
        if self.draw.random() < 0.5:
            data, name = [[_describe(self.photo)] * 300, 10, ""], "caption_many"
        else:
            data, name = [_describe(self.photo), "A dog runs.", "occlusion", ""], "explain"
        return self._call(name, data, session_hash=session)

    def leave(self) -> int:
        """Ask, open the stream, and go."""
        session = secrets.token_hex(6)
        status = self._call("caption", [_describe(self.photo), 10, ""], session_hash=session)
        stream = f"/gradio_api/queue/data?session_hash={session}"
        with self.client.stream("GET", stream, timeout=5):
            return status

    def drip(self) -> int:
        """Begin a request and fall silent."""
        where = urlsplit(self.page)
        with socket.create_connection((where.hostname or "", where.port or 80), 10) as connection:
            connection.sendall(
                b"POST /gradio_api/upload HTTP/1.1\r\nHost: page\r\nContent-Length: 1000000\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
            )
            time.sleep(0.2)
        return 0

    def upload(self) -> int:
        """Fill the disk."""
        files = {"files": ("x.png", secrets.token_bytes(8) + UPLOAD)}
        return self.client.post("/gradio_api/upload", files=files).status_code

    def _call(self, name: str, data: list, **more: str) -> int:
        body = json.dumps({"data": data, **more})
        headers = {"Content-Type": "application/json"}
        path = f"/gradio_api/call/{name}"
        return self.client.post(path, content=body, headers=headers).status_code


def upload_photo(page: str, content: bytes) -> str:
    """Upload a photo; returns the page's path of it."""
    files = {"files": ("photo.jpg", content)}
    return httpx.post(f"{page}/gradio_api/upload", files=files, headers=HEADERS).json()[0]


def _describe(path: str) -> dict:
    return {"path": path, "orig_name": "x.jpg", "meta": {"_type": "gradio.FileData"}}
