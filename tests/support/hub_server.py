"""A hub of a few models on this machine."""

import hashlib
import json
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

COMMIT = "c" * 40


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's API as downloads use.

    folders: of the models; gated: names of some; sizes: what it says of models' files, where that
    is not the truth; fetched: names of files.
    """

    folders: ClassVar[dict[str, Path]] = {}
    gated: ClassVar[set[str]] = set()
    sizes: ClassVar[dict[str, int]] = {}
    fetched: ClassVar[list[str]] = []

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        path = self.path.partition("?")[0].removeprefix("/api/models").strip("/")
        name = "/".join(path.split("/")[:2])
        if name not in self.folders:
            return self.refuse(404, "RepoNotFound")
        files = sorted(f for f in self.folders[name].iterdir() if f.is_file())
        if "/resolve/" in path:
            if name in self.gated:
                return self.refuse(403, "GatedRepo")
            return self.send_file(self.folders[name] / path.split("/")[-1])
        if "/tree/" in path:
            listed = [
                {"type": "file", "path": f.name, "size": f.stat().st_size, "oid": self.etag(f)}
                for f in files
            ]
            return self.send_json(listed)
        siblings = [
            {"rfilename": f.name, "size": self.sizes.get(name, f.stat().st_size)} for f in files
        ]
        self.send_json({"id": name, "sha": COMMIT, "siblings": siblings, "tags": []})

    @staticmethod
    def etag(file):
        data = file.read_bytes()  # git's name of a blob
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def refuse(self, status, code):
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_json(self, value):
        self.send_body(json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send_file(self, file):
        if self.command == "GET":
            self.fetched.append(file.name)
        headers = {"ETag": f'"{self.etag(file)}"', "X-Repo-Commit": COMMIT}
        self.send_body(file.read_bytes(), headers)

    def send_body(self, body, headers):
        self.send_response(200)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@contextmanager
def serve_hub(
    folders: dict[str, Path], gated: Collection[str] = (), sizes: Mapping[str, int] | None = None
) -> Iterator[str]:
    """Its address; `Hub.fetched` has the files that it gave."""
    Hub.folders, Hub.gated, Hub.sizes, Hub.fetched = folders, set(gated), dict(sizes or {}), []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def make_environment(address: str, cache: Path) -> dict[str, str]:
    """What has a program ask this hub, and keep what it gets in a folder of its own."""
    return {
        "HF_ENDPOINT": address,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
