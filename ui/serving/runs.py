"""Which of a visitor's runs is wanted: a newer one ends those before it.

Not by `cancels=` of gradio's events: until the server has answered that, which takes as long as one
step of the work, the page drops or defers what the visitor asks for next; and then it reports the
cancelled run as failed, beside the new one.
"""

import math
import time
from collections.abc import Callable

from ui.gradio_queue import get_queued_request


class Runs:
    """The runs of one part of one visitor's page, kept in a `gr.State`.

    A handler that gets it begins a run; see `request_handler`.
    """

    def __init__(self):
        self._newest = -math.inf  # when it was asked for

    def begin(self) -> Callable[[], bool]:
        """Begin the run of the request that this thread answers, which ends those asked for before;
        returns whether it is still the newest. One may have waited longer than a newer one."""
        request = get_queued_request()
        asked_at = request.asked_at if request else time.monotonic()
        self._newest = max(self._newest, asked_at)
        return lambda: asked_at >= self._newest
