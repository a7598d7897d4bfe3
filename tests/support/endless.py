"""A page whose answers take until nobody waits for them any more."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import gradio as gr

from ui.serving.cancellation import Visitor, check_still_waiting, work_for


class EndlessPage(NamedTuple):
    """A running page, and the texts that its endpoint began and ended with."""

    blocks: gr.Blocks
    address: str
    begun: list[str]
    ended: list[str]


@contextmanager
def serve_endless_work() -> Iterator[EndlessPage]:
    """A page with one endpoint, `/work`: it works until its visitor has left, one at a time, unless
    it is asked for "an answer"."""
    begun: list[str] = []
    ended: list[str] = []

    def work(text: str) -> str:
        begun.append(text)
        try:
            with work_for(Visitor(seconds=3600)):
                while text != "an answer":
                    check_still_waiting()
                    time.sleep(0.02)
        finally:
            ended.append(text)
        return text

    with gr.Blocks() as demo:
        box = gr.Textbox()
        box.submit(work, box, box, api_name="work")
    _, address, _ = demo.launch(
        _frontend=False,  # else gradio waits 3 s, too little on a busy machine
        prevent_thread_lock=True,
        quiet=True,
        run_history=False,
    )
    yield EndlessPage(demo, address, begun, ended)
    demo.close()
