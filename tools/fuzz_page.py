"""`python -m tools.fuzz_page`: the page's whole HTTP surface, asked with what nobody should send.

Hypothesis makes the requests: routes with strange names, methods and bodies, and values for every
event and endpoint that the page's own description lists, right and wrong ones mixed. Each must be
answered with something or with one clear line. Never: status 500, a trace, null in place of a
reason, a fault of ours, or a word of the request in the page's log.

Needs `pip install hypothesis`, as requirements-dev.txt does.
"""

import argparse
import json
import secrets
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from tools.serving import ROOT, Served, serve_app
from ui.gradio_internals import OPEN_ROUTES
from ui.uploads.photos import to_data_url

WORD = "SECRETWORD"
PHOTO = {"url": to_data_url(Image.new("RGB", (60, 40), "red"))}
CLOSED_ROUTES = ("/gradio_api/run/caption", "/gradio_api/component_server", "/monitoring/summary")
ENDLESS = ("/queue/data", "/heartbeat", "/upload_progress", "/call/{api_name}/", "/v2/{api_name}/")

texts = st.one_of(
    st.just(WORD),
    st.text(alphabet=st.characters(exclude_categories=[]), max_size=30).map(lambda t: WORD + t),
    st.sampled_from(["", "a dog runs", f"../{WORD}", f"/etc/{WORD}", "\ud800", "${1+1}", "\x00"]),
)
numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([0, 1, 2, 10**400, -(10**20)]))
files = st.fixed_dictionaries(
    {},
    optional={
        "path": st.one_of(texts, st.none(), numbers),
        "url": st.one_of(texts, st.just(f"data:image/png;base64,{WORD}")),
        "orig_name": texts,
        "size": numbers,
        "meta": st.sampled_from([{"_type": "gradio.FileData"}, {}, WORD, None]),
    },
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts, files, st.just(PHOTO)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
event_values = st.one_of(
    values,
    st.fixed_dictionaries(
        {},
        optional={
            name: values
            for name in ("index", "text", "prefix", "method", "layer", "head", "model", "kind")
        },
    ),
)


class Page:
    """The page, what it says can be asked, and what became of the requests."""

    def __init__(self, app: Served):
        self.client = httpx.Client(base_url=app.address, timeout=120)
        config = self.client.get("/config").json()
        types = {component["id"]: component["type"] for component in config["components"]}
        self.events = [
            (event["id"], [types[index] for index in event["inputs"]])
            for event in config["dependencies"]
            if event["backend_fn"]
        ]
        info = self.client.get("/gradio_api/info").json()["named_endpoints"]
        self.endpoints = {
            name.strip("/"): [parameter["parameter_name"] for parameter in about["parameters"]]
            for name, about in info.items()
        }
        self.statuses: Counter[str] = Counter()

    def check(self, request: str, status: int, answer: str) -> None:
        """Raise AssertionError for what no request may be answered with."""
        self.statuses[str(status)] += 1
        about = f"{request}: {status} {answer[:500]}"
        assert status < 500 or status in (503, 507), about
        assert "Traceback" not in answer and "went wrong here" not in answer, about
        assert '"error": null' not in answer and '"error":null' not in answer, about

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        response = self.client.request(method, path, **options)
        self.check(f"{method} {path} {str(options)[:1500]}", response.status_code, response.text)
        return response

    def read_answer(self, address: str, request: str) -> None:
        """Read a stream of an answer to the end of its request."""
        with self.client.stream("GET", address) as stream:
            kind = ""
            for line in stream.iter_lines():
                message = json.loads(line[5:]) if line.startswith("data:") else None
                if line.startswith("event:"):
                    kind = line[6:].strip()
                elif kind == "error" and message is not None:
                    assert message.get("error"), f"{request}: {line}"
                    self.check(request, 200, line)
                elif isinstance(message, dict) and message.get("msg") == "process_completed":
                    output = message["output"]
                    assert message["success"] or output.get("error"), f"{request}: {line[:500]}"
                    self.check(request, 200, json.dumps(output.get("error", "")))
                    return


def make_inputs(types: list[str]) -> st.SearchStrategy[list[Any]]:
    """Values for the components of an event: mostly as many as there are, some right, some not."""
    right = {"image": st.just(PHOTO), "textbox": texts, "slider": st.integers(0, 10)}
    each = [st.one_of(right.get(kind, st.none()), values) for kind in types]
    return st.one_of(st.tuples(*each).map(list), st.lists(values, max_size=6))


def fuzz(page: Page, count: int, seed_free: settings) -> None:
    """Send `count` requests of each of three kinds: to routes, events and endpoints."""
    one_of_events = st.sampled_from(page.events).flatmap(
        lambda event: st.tuples(st.just(event[0]), make_inputs(event[1]))
    )

    @seed_free
    @given(
        st.sampled_from(["GET", "POST", "HEAD", "PUT", "OPTIONS", "DELETE"]),
        st.sampled_from((*OPEN_ROUTES, *CLOSED_ROUTES, "/{name}")),
        texts,
        st.one_of(values.map(lambda v: json.dumps(v).encode()), st.binary(max_size=50)),
    )
    def ask_route(method: str, route: str, name: str, body: bytes) -> None:
        if method == "GET" and any(part in route for part in ENDLESS):
            method = "POST"
        quoted = quote(name.encode(errors="replace"), safe="/")
        path = "".join(
            quoted if i % 2 else piece for i, piece in enumerate(route.replace("{", "}").split("}"))
        )
        page.send(method, path or "/", content=body, headers={"Content-Type": "application/json"})

    @seed_free
    @given(one_of_events, event_values, st.sampled_from([None, WORD, 5, [WORD]]))
    def ask_event(event: tuple[int, list[Any]], event_data: Any, trigger: Any) -> None:
        session = secrets.token_hex(8)
        body = {"fn_index": event[0], "data": event[1], "event_data": event_data}
        body |= {"session_hash": session, "trigger_id": trigger}
        content = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        answer = page.send("POST", "/gradio_api/queue/join", content=content, headers=headers)
        if answer.status_code == 200:
            address = f"/gradio_api/queue/data?session_hash={session}"
            page.read_answer(address, str(body)[:1500])

    @seed_free
    @given(st.sampled_from(sorted(page.endpoints)), st.lists(values, max_size=5), st.booleans())
    def ask_endpoint(name: str, given_values: list[Any], is_named: bool) -> None:
        body: Any = {"data": given_values}
        if is_named:
            body = dict(zip(page.endpoints[name], given_values, strict=False))
        version = "v2/" if is_named else ""
        content = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        path = f"/gradio_api/call/{version}{name}"
        answer = page.send("POST", path, content=content, headers=headers)
        if answer.status_code == 200:
            address = f"/gradio_api/call/{name}/{answer.json()['event_id']}"
            page.read_answer(address, f"{path} {str(body)[:1500]}")

    for ask in (ask_route, ask_event, ask_endpoint):
        ask()
        print(f"{ask.__name__}: {count} requests", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz_page", description=__doc__)
    parser.add_argument("--requests", type=int, default=1000, help="of each of three kinds; 1000")
    parser.add_argument("--checkpoint", default="", help="a folder; the shipped one")
    options = parser.parse_args()
    seed_free = settings(
        max_examples=options.requests,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    with tempfile.TemporaryDirectory() as temporary:
        checkpoint = Path(options.checkpoint).resolve() if options.checkpoint else ""
        with serve_app(Path(temporary), checkpoint) as app:
            page = Page(app)
            fuzz(page, options.requests, seed_free)
            log = app.log.read_text()
    print(f"answered: {dict(sorted(page.statuses.items()))}; from {ROOT.name}")
    for unwanted in ("Traceback", WORD):
        print(f"{unwanted!r} in the log: {log.count(unwanted)} times")
    return int("Traceback" in log or WORD in log)


if __name__ == "__main__":
    sys.exit(main())
