"""The tab "Many photos": files or zips in, a table that fills as it goes, CSV and JSON lines."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import gradio as gr
from gradio.data_classes import ListFiles
from markupsafe import Markup
from PIL import Image

from model import Captioner
from model.batches import BATCH_SIZE, caption_all
from model.errors import ImageError
from model.output.records import make_records
from model.wording import NOTHING_TO_SAY, describe_likelihood
from ui.errors import user_error, user_errors
from ui.gradio_internals import save_to_cache, set_preprocess
from ui.serving.cancellation import check_still_waiting
from ui.serving.captioners import Captioners
from ui.serving.requests import PAGE_EVENT, request_handler
from ui.tabs.inputs import MAX_BEAMS, create_beams_slider
from ui.tabs.many_files import make_csv, make_jsonl
from ui.templates import render
from ui.uploads.files import (
    MAX_PHOTO_BYTES,
    MAX_PHOTOS,
    MEGABYTE,
    Photo,
    Upload,
    count_photos,
    count_skipped,
    list_photos,
    read_uploads,
)
from ui.uploads.photos import to_data_url

MAX_SECONDS = 1800.0  # for all of a visitor's photos
THUMBNAIL_SIDE = 96  # pixels; shown at half of it, for sharp screens
# A browser knows what is an image by its own list, which may lack some that we can open
FILE_TYPES = ["image", ".heic", ".heif", ".avif", ".jp2", ".ppm", ".tif", ".tiff", ".zip"]
LIMITS = f"Up to {MAX_PHOTOS} photos at a time, {MAX_PHOTO_BYTES // MEGABYTE} MB each."
NO_FILES = "Add photos, or a zip of photos, first."
# A few at a time, which take turns: a short one does not wait for the end of a long one.
MANY_EVENT: dict[str, Any] = {"concurrency_limit": 4, "concurrency_id": "many"}
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


# --- the work -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """How far one visitor's photos are. It holds no photo.

    Each batch makes a new one, so that one that was cancelled half-way leaves nothing behind.
    """

    total: int
    skipped: int  # files in zips that are no photos
    records: list[dict[str, Any]] = field(default_factory=list)

    def render_progress(self, has_ended: bool = False) -> Markup:
        """How far it is, as a bar and in words that are read aloud."""
        done = len(self.records)
        failed = sum("error" in record for record in self.records)
        words = f"{done} of {self.total} done"
        if failed:
            words += f", {failed} could not be read"
        if has_ended:
            words = f"{words}." if done == self.total else f"Stopped: {words}."
            if self.skipped:
                words += f" {describe_skipped(self.skipped)}"
        bar = Markup(
            '<progress class="many-bar" max="{}" value="{}" aria-label="Photos done"></progress>'
        )
        return render_status(words) + bar.format(self.total, done)


def describe_skipped(count: int) -> str:
    """The sentence on files in zips that cannot be photos."""
    return f"Skipped {count} {'file' if count == 1 else 'files'} in zips: no photos."


def render_status(words: str) -> Markup:
    """Words that are read aloud when they change."""
    return Markup('<p class="many-status" role="status">{}</p>').format(words)


def caption_uploads(
    captioner: Captioner, uploads: list[Upload], num_beams: int | None = None
) -> Iterator[list[tuple[dict[str, Any], Image.Image | None]]]:
    """Each photo's record and thumbnail, a batch at a time. Nothing runs once it is closed.

    A photo is encoded as soon as it was read and then dropped: at most one is in memory.

    Raises OptionError for a number of beams that cannot be, before any photo is read.
    """
    options = {} if num_beams is None else {"num_beams": num_beams}

    def encode(photo: Photo):
        """Its name and thumbnail, and what `Captioner.encode` makes of it or the error."""
        check_still_waiting()
        try:
            image = photo.load()
        except ImageError as error:
            return (photo.name, None), error
        encoded = captioner.encode([image])[0]
        image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        return (photo.name, image), encoded

    photos = map(encode, list_photos(uploads))
    for batch in caption_all(captioner, photos, BATCH_SIZE, on_step=check_still_waiting, **options):
        yield [
            (make_records(name, result, captioner.name)[0], thumbnail)
            for (name, thumbnail), result in batch
        ]


def render_row(record: dict[str, Any], thumbnail: Image.Image | None) -> Markup:
    """A record as a row of the table."""
    likelihood = ""
    if words := record.get("words"):
        likelihood = describe_likelihood(record["log_probability"], len(words))
    return render(
        "tabs/many.html",
        record=record,
        problem=record.get("error", "").removeprefix(f"{record['image']}: "),
        no_caption=NOTHING_TO_SAY,
        likelihood=likelihood,
        thumbnail=to_data_url(thumbnail) if thumbnail else "",
    )


# --- the tab --------------------------------------------------------------------------------


class ManyTab(NamedTuple):
    """The tab's components."""

    job: gr.State
    files: gr.File
    num_beams: gr.Slider
    start: gr.Button
    stop: gr.Button
    progress: gr.HTML
    csv: gr.DownloadButton
    jsonl: gr.DownloadButton
    table: gr.HTML


def build(captioners: Captioners, model: gr.Dropdown) -> ManyTab:
    """Lay out the tab and connect its events. `model` holds the captioner's name."""
    tab = _lay_out(captioners)
    _connect(tab, captioners, model)
    return tab


def _lay_out(captioners: Captioners) -> ManyTab:
    unstyled = {"apply_default_css": False, "elem_classes": "many-html"}
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            files = create_files_input()
            with gr.Accordion("Options", open=False):
                num_beams = create_beams_slider(captioners)
            start = gr.Button("Write captions", variant="primary")
            stop = gr.Button("Stop", visible=False)
            progress = gr.HTML(render_status(""), **unstyled)
            csv = gr.DownloadButton("Download CSV", visible=False, size="md")
            jsonl = gr.DownloadButton("Download JSONL", visible=False, size="md")
        with gr.Column(scale=3, min_width=320):
            table = gr.HTML([], html_template=TABLE_TEMPLATE, limits=LIMITS, **unstyled)
    return ManyTab(gr.State(None), files, num_beams, start, stop, progress, csv, jsonl, table)


def create_files_input() -> gr.File:
    """Photos and zips, whose handler gets a list of `Upload`."""
    files = gr.File(
        label="Photos, or a zip of photos",
        file_count="multiple",
        file_types=FILE_TYPES,
        height=220,
    )
    set_preprocess(files, _read_files)
    return files


def _read_files(payload: ListFiles | None) -> list[Upload]:
    with user_errors():
        return read_uploads(payload)


def _update_buttons(is_running: bool) -> list[dict[str, Any]]:
    """The buttons to start and to stop, of which one is shown."""
    return [gr.update(visible=not is_running), gr.update(visible=is_running)]


def _connect(tab: ManyTab, captioners: Captioners, model: gr.Dropdown) -> None:
    @request_handler(captioners, seconds=MAX_SECONDS)
    def write_captions(uploads: list[Upload], num_beams: float, name: str | None):
        """Write the captions, a batch at a time."""
        captioner = captioners.get(name)
        job, rows = Job(count_photos(uploads), count_skipped(uploads)), []
        yield [job, job.render_progress(), rows, *_update_buttons(is_running=True)]
        for batch in caption_uploads(captioner, uploads, int(num_beams)):
            job = replace(job, records=job.records + [record for record, _ in batch])
            rows = rows + [render_row(*result) for result in batch]
            yield [job, job.render_progress(), rows, *_update_buttons(is_running=True)]

    results = [tab.job, tab.progress, tab.table, tab.start, tab.stop]
    downloads = [tab.csv, tab.jsonl]
    ends = [tab.progress, tab.start, tab.stop, *downloads]
    waiting = tab.start.click(_show_waiting, [tab.files], [*results, *downloads], **PAGE_EVENT)
    running = waiting.success(
        write_captions, [tab.files, tab.num_beams, model], results, **PAGE_EVENT, **MANY_EVENT
    )
    for ended in (running.success, running.failure):
        ended(_offer_downloads, [tab.job], ends, **PAGE_EVENT)
    tab.stop.click(_offer_downloads, [tab.job], ends, cancels=[running], **PAGE_EVENT)


def _show_waiting(uploads: list[Upload]) -> list[Any]:
    """An empty table, until it is this visitor's turn."""
    if not uploads:
        raise user_error(NO_FILES)
    hidden = gr.update(visible=False)
    status = render_status("Waiting for a turn …")
    return [None, status, [], *_update_buttons(is_running=True), hidden, hidden]


def _offer_downloads(job: Job | None) -> list[Any]:
    """What there is, be it all or not."""
    buttons = _update_buttons(is_running=False)
    if job is None or not job.records:
        return [render_status("Stopped."), *buttons, gr.skip(), gr.skip()]
    downloads = [
        # in gradio's folder under the name of their content, and removed by its schedule
        gr.update(value=save_to_cache(content, name), visible=True)
        for content, name in (
            (make_csv(job.records), "captions.csv"),
            (make_jsonl(job.records), "captions.jsonl"),
        )
    ]
    return [job.render_progress(has_ended=True), *buttons, *downloads]


# --- the endpoint ---------------------------------------------------------------------------


def add_endpoint(captioners: Captioners) -> None:
    """Add `/caption_many` to the page that is being built."""

    @request_handler(captioners, seconds=MAX_SECONDS)
    def caption_files(
        files: list[Upload], num_beams: float = 0, model: str = ""
    ) -> Iterator[list[dict[str, Any]]]:
        """Caption many photos. Gives the list of all that are done after every few of them.

        A photo that was done is {"image": its name, "caption", "log_probability",
        "words": [{"text", "probability"}], "checkpoint"}; one that cannot be read is
        {"image", "error"}. Photos of the same name come with their folders in the zip. How many
        files in zips were skipped, because they are no photos, comes as a message.

        Args:
            files: photos and zips of photos; up to 500 photos.
            num_beams: captions weighed against each other; 0 takes the model's own.
            model: the captioner; the first one offered if empty.
        """
        if not files:
            raise user_error(NO_FILES)
        captioner = captioners.get(model)
        count_photos(files)
        if skipped := count_skipped(files):
            gr.Info(describe_skipped(skipped))
        done = []
        for batch in caption_uploads(captioner, files, int(num_beams) or None):
            done = done + [record for record, _ in batch]
            yield done

    with gr.Row(visible=False):
        inputs = [
            create_files_input(),
            gr.Number(0, minimum=0, maximum=MAX_BEAMS, label="num_beams"),
            gr.Textbox("", label="model"),
        ]
        gr.Button().click(caption_files, inputs, gr.JSON(), api_name="caption_many", **MANY_EVENT)
