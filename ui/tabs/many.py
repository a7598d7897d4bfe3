"""The tab "Many photos": files or zips in, a table that fills as it goes, CSV and JSON lines."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import gradio as gr

from model.memory import Memory
from ui.errors import user_error
from ui.gradio_internals import save_to_cache
from ui.serving.captioners import Captioners
from ui.serving.requests import MANY_EVENT, MANY_SECONDS, PAGE_EVENT, request_handler
from ui.serving.runs import Runs
from ui.serving.translation import name_languages
from ui.tabs.choice import CaptionerChoice
from ui.tabs.inputs import create_beams_slider
from ui.tabs.many_captions import Job, caption_uploads, render_row, render_status
from ui.tabs.many_files import make_csv, make_jsonl
from ui.tabs.memory import choose_memory
from ui.uploads.files import Upload, count_photos, count_skipped
from ui.uploads.limits import MAX_PHOTO_BYTES, MAX_PHOTOS, MEGABYTE
from ui.uploads.photos import create_files_input

LIMITS = f"Up to {MAX_PHOTOS} photos at a time, {MAX_PHOTO_BYTES // MEGABYTE} MB each."
NO_FILES = "Add photos, or a zip of photos, first."
# The value is a list of rows, of which only the new ones travel. They come escaped from Python:
# what gradio fills in for {{ }} it runs as a script, and names may hold `${`.
TABLE_TEMPLATE = """${value.length ? `
<table class="many-table" role="table">
<caption>Probability: what the model gave each word, on average.</caption>
<thead role="rowgroup"><tr role="row">
<th scope="col" role="columnheader">Photo</th><th scope="col" role="columnheader">File</th>
<th scope="col" role="columnheader">Caption</th><th scope="col" role="columnheader">Probability</th>
</tr></thead>
<tbody role="rowgroup">${value.join("")}</tbody></table>` : `
<p class="many-empty">Add photos, or a zip of photos, and choose “Write captions”.
Each gets a row here: the photo, its caption, and how likely the model finds it.<br>
${limits}</p>`}"""


# The row's link leads to the tab "Caption"; its number goes to Python.
OPEN_ROW_SCRIPT = """element.addEventListener("click", ({ target }) => {
  const link = target.closest("[data-row]");
  if (link) trigger("open_row", { row: Number(link.dataset.row) });
});"""


class ManyTab(NamedTuple):
    """The tab's components."""

    runs: gr.State
    job: gr.State
    files: gr.File
    num_beams: gr.Slider
    language: gr.Dropdown
    start: gr.Button
    stop: gr.Button
    progress: gr.HTML
    csv: gr.DownloadButton
    jsonl: gr.DownloadButton
    table: gr.HTML


def build(captioners: Captioners, choice: CaptionerChoice) -> ManyTab:
    """Lay out the tab and connect its events."""
    tab = _lay_out(captioners)
    _connect(tab, captioners, choice)
    return tab


def _lay_out(captioners: Captioners) -> ManyTab:
    unstyled = {"apply_default_css": False, "elem_classes": "many-html"}
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            files = create_files_input()
            with gr.Accordion("Options", open=False):
                num_beams = create_beams_slider(captioners)
                language = create_language_menu()
            start = gr.Button("Write captions", variant="primary")
            stop = gr.Button("Stop", visible=False)
            progress = gr.HTML(render_status(""), **unstyled)
            csv = gr.DownloadButton("Download CSV", visible=False, size="md")
            jsonl = gr.DownloadButton("Download JSONL", visible=False, size="md")
        with gr.Column(scale=3, min_width=320):
            table = gr.HTML(
                [],
                html_template=TABLE_TEMPLATE,
                js_on_load=OPEN_ROW_SCRIPT,
                limits=LIMITS,
                **unstyled,
            )
    choices, downloads = (files, num_beams, language), (csv, jsonl)
    return ManyTab(
        gr.State(Runs()), gr.State(None), *choices, start, stop, progress, *downloads, table
    )


def create_language_menu() -> gr.Dropdown:
    """Into which language captions are translated; hidden where the page has no translator."""
    names = name_languages()
    choices = [("no other", ""), *((name, code) for code, name in names.items())]
    return gr.Dropdown(choices, value="", label="Captions also in", visible=bool(names))


def _update_buttons(is_running: bool) -> list[dict[str, Any]]:
    """The buttons to start and to stop, of which one is shown."""
    return [gr.update(visible=not is_running), gr.update(visible=is_running)]


def _connect(tab: ManyTab, captioners: Captioners, choice: CaptionerChoice) -> None:
    @request_handler(captioners, seconds=MANY_SECONDS)
    def write_captions(
        runs: Runs,
        uploads: list[Upload],
        num_beams: float,
        language: str,
        model_name: str | None,
        prompt: str | None,
        memory_name: str,
        own_memory: Memory | None,
    ) -> Iterator[list[Any]]:
        """Write the captions, a batch at a time; however it ends, what there is is offered."""
        job, rows = None, []
        try:
            captioner = captioners.get(model_name, prompt)
            memory = choose_memory(memory_name, own_memory)
            job = Job(count_photos(uploads), count_skipped(uploads), captioner.prompt, memory_name)
            yield _show_rows(job, rows)
            batches = caption_uploads(
                captioner,
                uploads,
                int(num_beams),
                language,
                memory=memory,
                memory_name=memory_name,
            )
            for batch in batches:
                job = replace(job, records=job.records + [record for record, _ in batch])
                rows = rows + [
                    render_row(*result, row=row) for row, result in enumerate(batch, len(rows))
                ]
                yield _show_rows(job, rows)
        except Exception:
            yield _show_end(job)
            raise
        yield _show_end(job)

    def stop_writing(runs: Runs, job: Job | None) -> list[Any]:
        runs.begin()
        return _show_end(job)

    def forget_results(runs: Runs, uploads: list[Upload]) -> Any:
        if uploads:
            return gr.skip()
        runs.begin()
        hidden = gr.update(visible=False)
        return [None, render_status(""), [], *_update_buttons(is_running=False), hidden, hidden]

    outputs = [tab.job, tab.progress, tab.table, tab.start, tab.stop, tab.csv, tab.jsonl]
    waiting = tab.start.click(_show_waiting, [tab.files], outputs, **PAGE_EVENT)
    waiting.success(
        write_captions,
        [
            *(tab.runs, tab.files, tab.num_beams, tab.language),
            *choice.inputs,
            *choice.memory.inputs,
        ],
        outputs,
        trigger_mode="multiple",  # the one before, stopped, may still be within a step
        **PAGE_EVENT,
        **MANY_EVENT,
    )
    # nothing is left of files that were taken away
    tab.files.change(forget_results, [tab.runs, tab.files], outputs, **PAGE_EVENT)
    tab.stop.click(stop_writing, [tab.runs, tab.job], outputs, **PAGE_EVENT)


def _show_waiting(uploads: list[Upload]) -> list[Any]:
    """An empty table, until it is this visitor's turn."""
    if not uploads:
        raise user_error(NO_FILES)
    hidden = gr.update(visible=False)
    status = render_status("Waiting for a turn …")
    return [None, status, [], *_update_buttons(is_running=True), hidden, hidden]


def _show_rows(job: Job, rows: list[Any]) -> list[Any]:
    """How far it is, while it goes on."""
    buttons = _update_buttons(is_running=True)
    return [job, job.render_progress(), rows, *buttons, gr.skip(), gr.skip()]


def _show_end(job: Job | None) -> list[Any]:
    """What there is, be it all or not, and its files."""
    buttons = _update_buttons(is_running=False)
    if job is None or not job.records:
        status = render_status("Stopped.")
        return [gr.skip(), status, gr.skip(), *buttons, gr.skip(), gr.skip()]
    downloads = [
        # in gradio's folder under the name of their content, and removed by its schedule
        gr.update(value=save_to_cache(content, name), visible=True)
        for content, name in (
            (make_csv(job.records), "captions.csv"),
            (make_jsonl(job.records), "captions.jsonl"),
        )
    ]
    status = job.render_progress(has_ended=True)
    return [gr.skip(), status, gr.skip(), *buttons, *downloads]
