"""A row of "Many photos" opens in the tab "Caption": photo and caption, with the maps."""

from typing import Any

import gradio as gr

from model.images import load_image
from model.memory import Memory
from ui.errors import user_error
from ui.gradio_internals import save_to_cache
from ui.lens import make_failure_script
from ui.lens.values import make_writing_value
from ui.serving.captioners import Captioners
from ui.serving.request_checks import read_event
from ui.serving.requests import NEWEST_EVENT, PAGE_EVENT, request_handler
from ui.serving.runs import Runs
from ui.tabs.caption import CaptionTab
from ui.tabs.choice import CaptionerChoice
from ui.tabs.lens_requests import explain_for_lens
from ui.tabs.many import ManyTab
from ui.tabs.many_captions import Job
from ui.tabs.memory import choose_memory
from ui.uploads.files import Upload, get_base_name, list_photos


def connect_rows(
    many: ManyTab, caption: CaptionTab, choice: CaptionerChoice, captioners: Captioners
) -> None:
    """Open a row that is clicked."""

    @request_handler(captioners)
    def open_row(
        runs: Runs,
        uploads: list[Upload],
        job: Job | None,
        own_memory: Memory | None,
        event: gr.EventData,
    ):
        job, record = _find_record(job, read_event(event).get("row"))
        content = read_photo(uploads, record["image"])
        image = load_image(content)
        path = save_to_cache(content, get_base_name(record["image"]))
        yield [path, make_writing_value([], image)]
        value = explain_for_lens(
            captioners.get(record["checkpoint"], job.prompt),
            image,
            record["caption"],
            continues=True,
            memory=choose_memory(job.memory_name, own_memory),
            memory_name=job.memory_name,
        )
        yield [gr.skip(), value]

    opening = many.table.open_row(
        open_row,
        [caption.runs, many.files, many.job, choice.memory.own],
        [caption.photo, caption.lens],
        **PAGE_EVENT,
        **NEWEST_EVENT,
    )
    script = make_failure_script(caption.lens)
    opening.failure(None, None, None, js=script, api_visibility="private")


def _find_record(job: Job | None, row: Any) -> tuple[Job, dict[str, Any]]:
    """The job and the record of a captioned photo; raises gr.Error for a row that is none."""
    if job and type(row) is int and 0 <= row < len(job.records) and job.records[row].get("words"):
        return job, job.records[row]
    raise user_error("Choose a row of the table that has a caption.")


def read_photo(uploads: list[Upload], name: str) -> bytes:
    """The photo of this name as a file; raises gr.Error if it is not among the files any more."""
    for photo in list_photos(uploads):
        if photo.name == name:
            return photo.read_bytes()
    raise user_error(f"{name} is not among the files any more; add it again.")
