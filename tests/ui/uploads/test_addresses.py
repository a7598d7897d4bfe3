"""Photos by their address: no more than a photo's bytes, from public hosts alone."""

import io
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import gradio as gr
import pytest
import safehttpx

from tests.support.async_calls import run_async
from tests.support.tiny import draw_photo
from ui.uploads import addresses
from ui.uploads.addresses import check_public, fetch_bytes
from ui.uploads.limits import MAX_PHOTO_BYTES


@pytest.fixture(scope="module")
def host():
    """A host with a photo, one that has moved, and one without an end; (address, bytes sent)."""
    buffer, sent = io.BytesIO(), []
    draw_photo().save(buffer, "PNG")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response({"/moved.png": 302, "/gone.png": 404}.get(self.path, 200))
            self.end_headers()
            try:
                if self.path == "/photo.png":
                    self.wfile.write(buffer.getvalue())
                while self.path == "/slow.png":
                    self.wfile.write(b"a")
                    time.sleep(0.1)
                while self.path == "/endless.png":
                    self.wfile.write(bytes(2**20))
                    sent.append(2**20)
            except OSError:
                pass

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", buffer.getvalue(), sent
    server.shutdown()


@pytest.fixture
def public(monkeypatch):
    """This machine counts as a public host."""

    async def valid(hostname):
        return hostname

    monkeypatch.setattr(safehttpx, "async_validate_url", valid)
    monkeypatch.setattr(addresses, "check_public", lambda place: None)


def fetched(address: str) -> bytes:
    return run_async(fetch_bytes, address)


def test_a_photo(host, public):
    address, photo, _ = host
    assert fetched(f"{address}/photo.png") == photo


@pytest.mark.parametrize(
    "path, told",
    [
        ("/gone.png", "its host answers 404; give the photo itself"),
        ("/moved.png", "its host answers 302"),
        ("/endless.png", "larger than 20 MB"),
    ],
)
def test_what_is_no_photo_is_one_line(host, public, path, told):
    address, _, sent = host
    with pytest.raises(gr.Error, match=told):
        fetched(address + path)
    assert sum(sent) < 2 * MAX_PHOTO_BYTES


def test_a_host_that_drips(host, public, monkeypatch):
    monkeypatch.setattr(addresses, "MAX_SECONDS", 1.0)
    with pytest.raises(gr.Error, match="takes longer than 1 seconds"):
        fetched(f"{host[0]}/slow.png")  # which has no end


@pytest.mark.parametrize(
    "place",
    ["100.64.0.1", "100.100.100.200", "192.0.0.192", "192.88.99.1", "198.19.0.1", "255.255.255.255"]
    + ["2002:7f00:1::", "2001:0:1::", "3fff::1", "3fff:fff::1", "2001:db8::1", "2620:4f:8000::1"]
    + ["::ffff:10.0.0.1", "::ffff:93.184.216.34", "64:ff9b::a00:1", "64:ff9b:1::1", "5f00::1"]
    + ["::", "::1", "fc00::1", "fe80::1", "fe80::1%eth0", "ff02::1", "100::1", "4000::1"],
)
def test_places_that_only_look_public(place):
    with pytest.raises(ValueError, match="not a public host"):
        check_public(place)
    check_public("93.184.216.34")
    check_public("2606:2800:220:1:248:1893:25c8:1946")


@pytest.mark.parametrize(
    "address, told",
    [
        ("http://127.0.0.1:1/photo.png", "Hostname 127.0.0.1 failed validation"),
        ("http://[::1]/photo.png", "failed validation"),
        ("http://10.0.0.1/photo.png", "failed validation"),
        ("http://169.254.169.254/latest", "failed validation"),
        ("http://", "give the photo itself"),
        ("http://example.invalid:99999/photo.png", "give the photo itself"),
        ("http://example.invalid:-1/photo.png", "give the photo itself"),
        ("http://a..b/photo.png", "give the photo itself"),
        (f"http://{'a' * 70}/photo.png", "give the photo itself"),
        ("http://<b>/photo.png", "http://&lt;b&gt;/photo.png: "),
    ],
)
def test_an_address_within_the_hosts_network(address, told):
    with pytest.raises(gr.Error) as error:
        fetched(address)
    assert told in error.value.message
