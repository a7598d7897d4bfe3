"""Gradio's queue as the page uses it: who may wait in it, whose turn it is, and who has left it.

Together with `ui.gradio_internals` all that reaches into gradio's internals.
"""

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from types import SimpleNamespace
from typing import Any

import gradio as gr
from fastapi import HTTPException
from gradio import context, queueing

BODY_SIZE = "captionlens.body_size"  # the key in a request's scope; bytes
IPV6_NETWORK_BITS = 64  # what a provider gives to one house, at the least
_Queue = getattr(queueing, "Queue", object)  # `list_queue_names` has it


def list_queue_names() -> Iterator[tuple[Any, str]]:
    """Each name that this module relies on, with the object that must have it."""
    yield queueing, "Queue"
    yield context, "LocalContext"
    yield context.LocalContext, "blocks"
    yield context.LocalContext, "event_id"
    for name in ("push", "get_events", "clean_events"):
        yield _Queue, name
    page = gr.Blocks(analytics_enabled=False).queue()
    yield page, "_queue"
    for name in (
        "__len__",
        "active_jobs",
        "event_ids_to_events",
        "event_queue_per_concurrency_id",
        "pending_event_ids_session",
        "pending_messages_per_session",
    ):
        yield page._queue, name
    group = queueing.EventQueue("x", 1)
    for name in ("queue", "concurrency_limit", "current_concurrency"):
        yield group, name
    event = queueing.Event("session", SimpleNamespace(concurrency_id="x"), None, None)
    for name in ("_id", "alive", "session_hash", "request", "concurrency_id", "enqueue_time"):
        yield event, name


@dataclass(frozen=True)
class QueuedJob:
    """What there is to know of a request that waits or runs."""

    address: str  # that it came from
    visitor: str  # a page, or a program; of those that do not say which one they are, the address
    group: str  # of events that share a limit
    size: int  # bytes that it keeps in memory


class Shares(ABC):
    """How visitors share the queue."""

    @abstractmethod
    def find_refusal(self, job: QueuedJob, waiting: Sequence[QueuedJob]) -> str | None:
        """Why this one may not wait beside those that do, in one line, or None if it may."""

    @abstractmethod
    def choose_next(
        self, waiting: Sequence[QueuedJob], running: Sequence[QueuedJob], limit: int | None
    ) -> int | None:
        """The index of the one to begin with now, or None; all are of one group, of which `limit`
        may run at once."""


class SharedQueue(_Queue):
    """Gradio's queue, shared among visitors as `shares` says."""

    shares: Shares

    async def push(self, body: Any, request: Any, username: str | None):
        """As gradio's; raises HTTPException for one too many."""
        address = get_address(request.scope) if request else ""
        job = QueuedJob(address, body.session_hash or address, "", _get_size(request))
        if refusal := self.shares.find_refusal(job, _list_jobs(_list_waiting(self))):
            raise HTTPException(429, refusal)
        return await super().push(body, request, username)

    def get_events(self):
        """The next request to begin with, as gradio's gives it, or None."""
        groups = list(self.event_queue_per_concurrency_id.values())
        random.shuffle(groups)
        for group in groups:
            limit = group.concurrency_limit
            if group.queue and (limit is None or group.current_concurrency < limit):
                running = [
                    event
                    for event in _list_running(self)
                    if event.concurrency_id == group.concurrency_id
                ]
                waiting = _list_jobs(group.queue)
                index = self.shares.choose_next(waiting, _list_jobs(running), limit)
                if index is not None:
                    return [group.queue.pop(index)], False, group.concurrency_id
        return None


def use_shared_queue(shares: Shares) -> None:
    """Have every page that is built from now on use a queue that visitors share in this way."""
    SharedQueue.shares = shares
    queueing.Queue = SharedQueue


def _list_waiting(queue: queueing.Queue) -> list[queueing.Event]:
    return [
        event for group in queue.event_queue_per_concurrency_id.values() for event in group.queue
    ]


def _list_running(queue: queueing.Queue) -> list[queueing.Event]:
    return [event for job in queue.active_jobs for event in job or ()]


def _list_jobs(events: Sequence[queueing.Event]) -> list[QueuedJob]:
    jobs = []
    for event in events:
        address = get_address(event.request.scope) if event.request else ""
        # gradio makes the event's own id the session of those that came without one
        visitor = address if event.session_hash == event._id else event.session_hash
        jobs.append(QueuedJob(address, visitor, event.concurrency_id, _get_size(event.request)))
    return jobs


def get_address(scope: MutableMapping[str, Any]) -> str:
    """The network address that a request (its ASGI scope) came from, "" where it is not known.

    Of IPv6 the network, as a house or a server has 2^64 addresses.
    """
    host = scope["client"][0] if scope.get("client") else ""
    try:
        address = IPv6Address(host)
    except ValueError:  # IPv4, or no network at all
        return host
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address.packed, IPV6_NETWORK_BITS), strict=False))


def _get_size(request: Any) -> int:
    return request.scope.get(BODY_SIZE, 0) if request else 0


async def drop_unread(page: gr.Blocks, is_read: Callable[[str, str], bool]) -> None:
    """End the requests whose answers nobody reads, and forget the answers that nobody fetched.

    is_read: whether somebody reads what goes to one of two names, a session's and a request's.
    """
    queue = page._queue
    events = [*_list_waiting(queue), *_list_running(queue)]
    for event in events:
        if not is_read(event.session_hash, event._id):
            await queue.clean_events(event_id=event._id)
    sessions = {*queue.pending_messages_per_session, *queue.pending_event_ids_session}
    for session in sessions - {event.session_hash for event in events}:
        if not is_read(session, session):
            queue.pending_messages_per_session.pop(session, None)
            queue.pending_event_ids_session.pop(session, None)


def is_session_known(page: gr.Blocks, name: str) -> bool:
    """Whether there are or will be answers for a session, or for a request, of this name."""
    queue = page._queue
    if name in queue.pending_messages_per_session or name in queue.event_ids_to_events:
        return True
    return any(name in requests for requests in queue.pending_event_ids_session.values())


def is_queue_busy(page: gr.Blocks) -> bool:
    """Whether a request waits or runs."""
    return bool(len(page._queue) or any(page._queue.active_jobs))


@dataclass(frozen=True)
class QueuedRequest:
    """A request in gradio's queue."""

    queue: queueing.Queue
    event_id: str

    @property
    def address(self) -> str:
        """Where it came from, "" where that is not known."""
        event = self.queue.event_ids_to_events.get(self.event_id)
        return get_address(event.request.scope) if event and event.request else ""

    @property
    def asked_at(self) -> float:
        """When it came, by the clock of `time.monotonic`."""
        event = self.queue.event_ids_to_events.get(self.event_id)
        return event.enqueue_time if event else time.monotonic()

    @property
    def is_abandoned(self) -> bool:
        """Whether it was cancelled, or its page or connection is closed."""
        event = self.queue.event_ids_to_events.get(self.event_id)
        return (
            event is None
            or not event.alive
            or event._id not in self.queue.pending_event_ids_session.get(event.session_hash, ())
        )


def note_queued_request(event_id: str | None) -> None:
    """Have `get_queued_request` know the request that is answered from here on."""
    context.LocalContext.event_id.set(event_id)


def get_queued_request() -> QueuedRequest | None:
    """The request that this thread answers; None if it did not come through the queue."""
    page = context.LocalContext.blocks.get(None)
    event_id = context.LocalContext.event_id.get(None)
    return None if page is None or event_id is None else QueuedRequest(page._queue, event_id)
