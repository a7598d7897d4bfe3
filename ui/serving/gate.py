"""The gate: what each request passes before gradio sees it.

Only the routes that the page needs are open. Nothing is read before it is weighed, nobody waits for
a visitor who sends or reads nothing, and whatever goes wrong behind the gate is one line.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from urllib.parse import parse_qs

import anyio
from anyio.to_thread import run_sync
from fastapi import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.errors import report_fault
from ui.gradio_internals import OPEN_ROUTES, STREAM_ROUTES, UPLOAD_ROUTE
from ui.gradio_queue import BODY_SIZE, get_address, is_session_known
from ui.serving.hourly_share import HourlyShare
from ui.serving.readers import READERS
from ui.uploads.folder import UploadFolder
from ui.uploads.limits import MAX_PHOTO_BYTES, MEGABYTE

MAX_BODY_BYTES = MAX_PHOTO_BYTES * 4 // 3 + MEGABYTE  # a photo in an address (data:, base64)
MAX_BODIES_BYTES = 4 * MAX_BODY_BYTES  # that are being read, of all visitors
MAX_UPLOAD_BYTES = 1024 * MEGABYTE  # of one request
MAX_UPLOADS_BYTES = 1024 * MEGABYTE  # of an address, within an hour
MAX_OPEN = 256  # requests of an address
MAX_SECONDS_SILENT = 30.0  # between two pieces of what a visitor sends, or reads


class RefusedError(Exception):
    """A request that goes no further; the message is the line for its sender."""

    def __init__(self, status: int, line: str):
        super().__init__(line)
        self.status = status


class Gate:
    """The ASGI application behind its gate.

    own_routes: paths of routes that are open beside gradio's.
    """

    def __init__(self, app: ASGIApp, folder: UploadFolder, own_routes: tuple[str, ...] = ()):
        self._app, self._folder = app, folder
        self._open = [compile_path(path)[0] for path in (*OPEN_ROUTES, *own_routes)]
        self._streams = [compile_path(path)[0] for path in STREAM_ROUTES]
        self._counts: Counter[str] = Counter()  # open requests of each address
        self._uploads = HourlyShare(MAX_UPLOADS_BYTES)
        self._bodies_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":  # gradio has no other
            return await send({"type": "websocket.close"})
        exchange = _Exchange(receive, send)
        try:
            with self._count(scope), self._note_reader(scope):
                self._check_path(scope["path"])
                if scope["path"] == UPLOAD_ROUTE:
                    await self._pass_upload(scope, exchange)
                else:
                    await self._pass_body(scope, exchange)
        except ClientDisconnect:
            pass  # in the middle of an upload
        except RefusedError as refusal:
            await exchange.answer(scope, refusal.status, str(refusal))
        except Exception as error:
            # a stream that gradio ends as one of a session that it does not know is no fault
            if not isinstance(error.__cause__, HTTPException):
                await exchange.answer(scope, 500, report_fault(error).message)

    @contextmanager
    def _count(self, scope: Scope) -> Iterator[None]:
        address = get_address(scope)
        if self._counts[address] >= MAX_OPEN:
            raise RefusedError(429, "Too many requests of yours are open. Try again in a minute.")
        self._counts[address] += 1
        try:
            yield
        finally:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]

    def _note_reader(self, scope: Scope) -> AbstractContextManager[None]:
        """For the stream of an answer: note that it is read. Raises RefusedError for one of which
        nothing is known: gradio would break off in the middle."""
        for path in self._streams if scope["method"] == "GET" else ():
            if match := path.match(scope["path"]):
                query = parse_qs(scope["query_string"].decode("latin-1"))
                name = match.groupdict().get("event_id") or query.get("session_hash", [""])[0]
                if not is_session_known(scope["app"].get_blocks(), name):
                    raise RefusedError(
                        404, "No such request, or its answer was not fetched in time."
                    )
                return READERS.reading(name)
        return nullcontext()

    def _check_path(self, path: str) -> None:
        if not any(pattern.match(path.rstrip("/") or "/") for pattern in self._open):
            raise RefusedError(404, "Not here; see /gradio_api/info for what there is.")

    async def _pass_body(self, scope: Scope, exchange: "_Exchange") -> None:
        """Let a request through once its body has been read, which is short."""
        size = _read_length(scope)
        if size is not None and size > MAX_BODY_BYTES:
            raise RefusedError(413, _describe_limit(MAX_BODY_BYTES))
        reserved = MAX_BODY_BYTES if size is None else size
        if scope["method"] in ("GET", "HEAD", "OPTIONS") and not size:
            return await self._app(scope, exchange.receive, exchange.send)
        if self._bodies_bytes + reserved > MAX_BODIES_BYTES:
            raise RefusedError(503, "Too many photos come at once. Try again in a minute.")
        self._bodies_bytes += reserved
        try:
            body = await exchange.read_body(MAX_BODY_BYTES)
            scope[BODY_SIZE] = len(body)
            exchange.give_back(body)
            del body
            await self._app(scope, exchange.receive, exchange.send)
        finally:
            self._bodies_bytes -= reserved

    async def _pass_upload(self, scope: Scope, exchange: "_Exchange") -> None:
        """Let files through while they come, weighed piece by piece, once there is room."""
        size = _read_length(scope) or 0
        address = get_address(scope)
        if size > MAX_UPLOAD_BYTES:
            raise RefusedError(413, _describe_limit(MAX_UPLOAD_BYTES))
        await run_sync(self._folder.clean, size)

        def weigh(piece: int, total: int) -> None:
            if total > MAX_UPLOAD_BYTES:
                raise MultiPartException(_describe_limit(MAX_UPLOAD_BYTES))
            if not self._uploads.take(address, piece):
                limit = MAX_UPLOADS_BYTES // MEGABYTE
                raise MultiPartException(
                    f"You uploaded the maximum allowed size of {limit:,} MB an hour. Try later."
                )

        exchange.weigh = weigh
        await self._app(scope, exchange.receive, exchange.send)


class _Exchange:
    """The two ends of a request, which do not wait for a visitor who has fallen silent."""

    def __init__(self, receive: Receive, send: Send):
        self._receive, self._send = receive, send
        self._body: bytes | None = None  # that was read already
        self._is_read = False  # whether the body has come to its end
        self._num_bytes = 0
        self._has_begun = self._is_gone = False
        self.weigh: Callable[[int, int], None] = lambda piece, total: None

    async def receive(self) -> Message:
        """As ASGI's; a visitor who does not read has left."""
        if self._is_gone:
            return {"type": "http.disconnect"}
        if self._body is not None:
            message = {"type": "http.request", "body": self._body, "more_body": False}
            self._body = None
            return message
        if self._is_read:
            return await self._receive()
        try:
            with anyio.fail_after(MAX_SECONDS_SILENT):
                message = await self._receive()
        except TimeoutError:
            self._is_gone = True
            return {"type": "http.disconnect"}
        piece = len(message.get("body", b""))
        self._num_bytes += piece
        self.weigh(piece, self._num_bytes)
        self._is_read = not message.get("more_body", False)
        return message

    async def read_body(self, limit: int) -> bytes:
        """All of the body. Raises RefusedError for one that is too large, or never comes."""
        body = bytearray()
        while not self._is_read:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise RefusedError(408, "The request did not come to its end; send it again.")
            body += message.get("body", b"")
            if len(body) > limit:
                raise RefusedError(413, _describe_limit(limit))
        return bytes(body)

    def give_back(self, body: bytes) -> None:
        """Let the next `receive` give this body."""
        self._body = body

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """As ASGI's, while the visitor reads."""
        if self._is_gone:
            return
        self._has_begun = True
        try:
            with anyio.fail_after(MAX_SECONDS_SILENT):
                await self._send(message)
        except TimeoutError:
            self._is_gone = True

    async def answer(self, scope: Scope, status: int, line: str) -> None:
        """Answer with a line, unless another answer has begun."""
        if self._has_begun:
            return
        response: Response
        if scope["path"] == UPLOAD_ROUTE:  # whose errors the page shows as they are
            response = PlainTextResponse(line, status)
        else:
            response = JSONResponse({"detail": line}, status)
        if not self._is_read:
            response.headers["connection"] = "close"
        self._is_gone = False  # who sends nothing may still read
        await response(scope, self._receive, self.send)


def _read_length(scope: Scope) -> int | None:
    """The bytes of the body, if the request says how many; raises RefusedError for no number."""
    value = dict(scope["headers"]).get(b"content-length")
    if value is not None and not re.fullmatch(rb"\d{1,18}", value):
        raise RefusedError(400, "Content-Length must be a number of bytes.")
    return None if value is None else int(value)


def _describe_limit(limit: int) -> str:
    return f"A request's maximum allowed size is {limit // MEGABYTE:,} MB."
