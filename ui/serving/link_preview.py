"""What a link to the page shows where it is shared: our title, text and picture, not gradio's."""

import re
from html import escape
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PREVIEW_ROUTE = "/preview.jpg"
PREVIEW_PICTURE = Path(__file__).parents[2] / "assets" / "screenshots" / "preview.jpg"
TITLE = "CaptionLens"
DESCRIPTION = "A caption for your photo, and where each of its words looked."
OTHERS = re.compile(rb'<meta\s+(?:property="og:|name="twitter:)[^>]*>\s*')


def answer_preview(request: Request) -> FileResponse:
    """The picture: 1200 × 630 pixels, as those who show links advise."""
    return FileResponse(PREVIEW_PICTURE, media_type="image/jpeg")


def make_tags(address: str) -> str:
    """The tags of Open Graph (https://ogp.me) for a page at this address."""
    picture = address.rstrip("/") + PREVIEW_ROUTE
    properties = {
        "og:type": "website",
        "og:title": TITLE,
        "og:description": DESCRIPTION,
        "og:url": address,
        "og:image": picture,
        "og:image:width": "1200",
        "og:image:height": "630",
    }
    tags = [f'<meta property="{k}" content="{escape(v)}">' for k, v in properties.items()]
    return "".join([*tags, '<meta name="twitter:card" content="summary_large_image">'])


class LinkPreview:
    """The ASGI application, with our tags in its page."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"].rstrip("/"):
            return await self._app(scope, receive, send)
        start: Message = {}
        body = b""

        async def replace_tags(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            headers = MutableHeaders(raw=start["headers"])
            if headers.get("content-type", "").startswith("text/html"):
                tags = make_tags(str(Request(scope).base_url)).encode()
                body = OTHERS.sub(b"", body).replace(b"<head>", b"<head>" + tags, 1)
                headers["content-length"] = str(len(body))
            await send({**start, "headers": headers.raw})
            await send({"type": "http.response.body", "body": body})

        await self._app(scope, receive, replace_tags)
