"""Which memory captions may borrow from: none, the shipped one, or the visitor's own photos.

A visitor's memory is in the state of their own session: no other visitor's request has it, and it
goes when they leave.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from typing import NamedTuple

import gradio as gr
from markupsafe import Markup

from model import Captioner
from model.checkpoint.hub import SHIPPED
from model.errors import ImageError, OptionError
from model.memory import Memory
from model.memory.memory import BATCH_SIZE
from ui.errors import user_error
from ui.serving.cancellation import check_still_waiting
from ui.serving.captioners import Captioners
from ui.serving.requests import MANY_EVENT, MANY_SECONDS, PAGE_EVENT, request_handler
from ui.serving.runs import Runs
from ui.uploads.captioned_zips import open_captioned_zips
from ui.uploads.files import Upload
from ui.uploads.photos import create_files_input

NONE, SHIPPED_MEMORY, OWN = "none", "shipped", "my own photos"
SHIPPED_FOLDER = SHIPPED.parent / "memory"
HOW_TO = (
    "Captions may borrow words from those of similar photos. Give a zip of photos with their "
    "captions: a text file of the same name beside each photo, or one table of both. It is kept "
    "for you alone, and for an hour at most after you leave."
)
FAILED = "Nothing is remembered."


class MemoryChoice(NamedTuple):
    """The components with which a visitor chooses a memory."""

    menu: gr.Dropdown
    own_section: gr.Row
    files: gr.File
    status: gr.HTML
    own: gr.State  # the visitor's Memory
    runs: gr.State  # a newer zip ends the work on the one before

    @property
    def inputs(self) -> list[gr.Dropdown | gr.State]:
        """What `choose_memory` takes."""
        return [self.menu, self.own]


def create_memory_menu(captioners: Captioners) -> gr.Dropdown:
    """The menu, for captioners that have learned to look at a memory."""
    names = [NONE, *([SHIPPED_MEMORY] if SHIPPED_FOLDER.is_dir() else []), OWN]
    is_usable = can_remember(captioners.get())
    return gr.Dropdown(names, value=NONE, label="Memory", visible=is_usable, min_width=160)


def create_memory_choice(menu: gr.Dropdown) -> MemoryChoice:
    """The menu with what belongs to a memory of the visitor's own."""
    # around the files, which gradio would make anew, without our reading of them, to show them
    with gr.Row(visible=False) as own_section:
        files = create_files_input("A zip of captioned photos", [".zip"], height=120)
        status = gr.HTML(
            render_status(HOW_TO),
            js_on_load="element.setAttribute('aria-live', 'polite')",
            apply_default_css=False,
        )
    return MemoryChoice(menu, own_section, files, status, gr.State(None), gr.State(Runs()))


def can_remember(captioner: Captioner) -> bool:
    """Whether the captioner has learned to look at a memory."""
    return captioner.network.memory_encoder is not None


@cache
def load_shipped_memory() -> Memory:
    return Memory.load(SHIPPED_FOLDER)


def choose_memory(name: str, own: Memory | None) -> Memory | None:
    """The memory of this name in the menu; `own` is the visitor's. Raises OptionError."""
    if name == NONE:
        return None
    if name == SHIPPED_MEMORY and SHIPPED_FOLDER.is_dir():
        return load_shipped_memory()
    if name != OWN:
        raise OptionError("choose a memory of the list")
    if own is None:
        raise OptionError("add a zip of captioned photos under Memory first, or choose none")
    return own


def remember_uploads(
    captioner: Captioner, uploads: Sequence[Upload]
) -> Iterator[tuple[Memory | None, Markup]]:
    """The memory of the photos in zips and a line on it, which say more with every few photos.

    Raises ImageError or DataError, in one line, for a zip of no use.
    """
    parts, errors = [Memory.build(captioner, [])], list[ImageError]()
    yield None, render_status("Reading the captions …")
    with open_captioned_zips(uploads) as photos:
        remaining = iter(photos)
        while batch := list(islice(remaining, BATCH_SIZE)):
            parts.append(
                Memory.build(captioner, batch, on_error=errors.append, on_step=check_still_waiting)
            )
            yield None, render_status(f"{sum(map(len, parts))} photos remembered …")
    memory = parts[0].join(*parts[1:])
    if not len(memory):
        raise errors[0] if errors else ImageError("no photo with a caption in it")
    left_out = f" {len(errors)} left out: {errors[0]}" if errors else ""
    if len(errors) > 1:
        left_out += " …"
    yield memory, render_status(f"{len(memory)} photos remembered. Write a caption.{left_out}")


def render_status(text: str) -> Markup:
    """A line under the files."""
    return Markup('<p class="memory-status">{}</p>').format(text)


def connect_memory_choice(choice: MemoryChoice, captioners: Captioners, model: gr.Dropdown) -> None:
    """Remember the zips that are added, and offer a memory only where the model can look at it."""

    @request_handler(captioners, seconds=MANY_SECONDS)
    def remember_photos(runs: Runs, uploads: list[Upload], name: str | None):
        if not uploads:
            raise user_error("Add a zip of captioned photos first.")
        for values in remember_uploads(captioners.get(name), uploads):
            yield list(values)

    def forget_photos(runs: Runs):
        runs.begin()
        return [None, render_status(HOW_TO)]

    kept = [choice.own, choice.status]
    running = choice.files.upload(
        remember_photos,
        [choice.runs, choice.files, model],
        kept,
        trigger_mode="multiple",
        **PAGE_EVENT,
        **MANY_EVENT,
    )
    running.failure(lambda: [None, render_status(FAILED)], None, kept, **PAGE_EVENT)
    choice.files.clear(forget_photos, [choice.runs], kept, **PAGE_EVENT)
    choice.menu.change(
        lambda name: gr.update(visible=name == OWN),
        [choice.menu],
        [choice.own_section],
        **PAGE_EVENT,
    )
