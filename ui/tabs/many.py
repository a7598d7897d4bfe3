"""The tab for many photos: files or zips in, a table that fills as it goes, CSV and JSON lines."""

import html
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import gradio as gr
from gradio.data_classes import ListFiles
from gradio.processing_utils import save_bytes_to_cache
from PIL import Image

from model import Captioner
from model.errors import ImageError
from model.output.records import csv_writer, jsonl_writer, records
from ui.actions import MAX_BEAMS, QUIET, beams_slider, chosen, one_line
from ui.errors import complaint
from ui.serving.captioners import Captioners
from ui.serving.requests import answers
from ui.uploads.files import (
    MAX_PHOTO_BYTES,
    MAX_PHOTOS,
    MEGABYTE,
    Photo,
    Upload,
    count,
    count_skipped,
    photos,
    read_uploads,
)
from ui.uploads.photos import data_url

MAX_SECONDS = 1800.0  # for all of a visitor's photos
BATCH = 8  # photos whose captions are written together: a third of the work of one by one
THUMBNAIL_SIDE = 96  # pixels; shown at half of it, for sharp screens
# A browser knows what is an image by its own list, which may lack some that we can open
FILE_TYPES = ["image", ".heic", ".heif", ".avif", ".jp2", ".ppm", ".tif", ".tiff", ".zip"]
LIMITS = f"Up to {MAX_PHOTOS} photos at a time, {MAX_PHOTO_BYTES // MEGABYTE} MB each."
NOTHING = "Add photos, or a zip of photos, first."
# What a spreadsheet takes for the beginning of a formula, in both widths
FORMULA = tuple("=+-@＝＋－＠")
# The value is a list of rows, of which only the new ones travel. They come escaped from Python:
# what gradio fills in for {{ }} it runs as a script, and names may hold `${`.
# The roles are for Safari, which forgets what is a table when a phone shows it as a list.
TABLE = """${value.length ? `
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


@dataclass(frozen=True)
class Job:
    """What is done of one visitor's photos. It holds no photo.

    Each batch makes a new one, so that one that was cancelled half-way leaves nothing behind.
    """

    total: int
    skipped: int  # files in zips that are no photos
    records: list[dict[str, Any]] = field(default_factory=list)

    def progress(self, ended: bool = False) -> str:
        """How far it is, as a bar and in words that are read aloud."""
        done = len(self.records)
        failed = sum("error" in record for record in self.records)
        words = f"{done} of {self.total} done"
        if failed:
            words += f", {failed} could not be read"
        if ended:
            words = f"{words}." if done == self.total else f"Stopped: {words}."
            if self.skipped:
                words += f" {describe_skipped(self.skipped)}"
        return status(words) + (
            f'<progress class="many-bar" max="{self.total}" value="{done}" '
            'aria-label="Photos done"></progress>'
        )


def describe_skipped(count: int) -> str:
    """What is said of files in zips that cannot be photos."""
    return f"Skipped {count} {'file' if count == 1 else 'files'} in zips: no photos."


def status(words: str) -> str:
    """Words that are read aloud when they change."""
    return f'<p class="many-status" role="status">{words}</p>'


def caption_uploads(
    captioner: Captioner, uploads: list[Upload], num_beams: int | None = None
) -> Iterator[list[tuple[dict[str, Any], Image.Image | None]]]:
    """Each photo's record and thumbnail, a batch at a time. Nothing runs once it is closed.

    A photo is dropped for its features as soon as it was read: at most one is in memory.
    """
    options = {} if num_beams is None else {"num_beams": num_beams}
    captioner.options(**options)  # complains before any photo is read

    def prepare(photo: Photo):
        try:
            image = photo.load()
        except ImageError as error:
            return photo.name, error, None
        features = captioner.encode([image])[0]
        image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        return photo.name, features, image

    prepared = map(prepare, photos(uploads))
    while batch := list(islice(prepared, BATCH)):
        readable = [features for _, features, thumbnail in batch if thumbnail is not None]
        captions = iter(captioner.captions(readable, **options))
        yield [
            (
                records(image, result if thumbnail is None else next(captions), captioner.name)[0],
                thumbnail,
            )
            for image, result, thumbnail in batch
        ]


def row(record: dict[str, Any], thumbnail: Image.Image | None) -> str:
    """A record as a row of the table."""
    image, likely = record["image"], ""
    if "error" in record:
        problem = html.escape(record["error"].removeprefix(f"{image}: "))
        said = f'<span aria-hidden="true">⚠</span> <b>Not read:</b> {problem}'
    elif record["words"]:
        said = html.escape(record["caption"])
        likely = f"{math.exp(record['log_probability'] / len(record['words'])):.0%} a word"
    else:
        said = "<b>No caption:</b> the model has nothing to say about this photo"
    picture = "" if thumbnail is None else f'<img src="{data_url(thumbnail)}" alt="">'
    return (
        f'<tr role="row"><td role="cell">{picture}</td>'
        f'<th scope="row" role="rowheader">{html.escape(image)}</th>'
        f'<td role="cell">{said}</td><td role="cell">{likely}</td></tr>'
    )


def as_csv(done: list[dict[str, Any]]) -> bytes:
    """As `python -m model caption --format csv`, but made for spreadsheets, where names out of a
    stranger's zip must not become formulas: those begin with an apostrophe here. It begins with a
    byte order mark, without which Excel takes UTF-8 for something else."""
    file = io.StringIO()
    write = csv_writer(file)
    for record in done:
        write(
            {
                key: f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
                for key, value in record.items()
            }
        )
    return file.getvalue().encode("utf-8-sig")


def as_jsonl(done: list[dict[str, Any]]) -> bytes:
    """As `python -m model caption --format jsonl`."""
    file = io.StringIO()
    write = jsonl_writer(file)
    for record in done:
        write(record)
    return file.getvalue().encode()


def build(captioners: Captioners, model: gr.Dropdown) -> None:
    """Lay out the tab and wire it, with the endpoint `/caption_many`."""
    job = gr.State(None)
    plain = {"apply_default_css": False, "elem_classes": "many-html"}
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            files = _many_files()
            with gr.Accordion("Options", open=False):
                num_beams = beams_slider(captioners)
            start = gr.Button("Write captions", variant="primary")
            stop = gr.Button("Stop", visible=False)
            progress = gr.HTML(status(""), **plain)
            csv = gr.DownloadButton("Download CSV", visible=False, size="md")
            jsonl = gr.DownloadButton("Download JSONL", visible=False, size="md")
        with gr.Column(scale=3, min_width=320):
            table = gr.HTML([], html_template=TABLE, limits=LIMITS, **plain)

    def shown(button: gr.Button) -> list[dict[str, Any]]:
        return [gr.update(visible=button is other) for other in (start, stop)]

    def begin(uploads: list[Upload]):
        """An empty table, until it is this visitor's turn."""
        if not uploads:
            raise complaint(NOTHING)
        hidden = gr.update(visible=False)
        return [None, status("Waiting for a turn …"), [], *shown(stop), hidden, hidden]

    @answers(captioners, seconds=MAX_SECONDS)
    def run(uploads: list[Upload], num_beams: float, name: str | None):
        """Write the captions, a batch at a time."""
        captioner = chosen(captioners, name)
        with one_line():
            work, rows = Job(count(uploads), count_skipped(uploads)), []
            yield [work, work.progress(), rows, *shown(stop)]
            for batch in caption_uploads(captioner, uploads, int(num_beams)):
                captioned = work.records + [record for record, _ in batch]
                work = replace(work, records=captioned)
                rows = rows + [row(*done) for done in batch]
                yield [work, work.progress(), rows, *shown(stop)]

    def finish(work: Job | None):
        """Offer what there is, be it all or not."""
        if work is None or not work.records:
            return [status("Stopped."), *shown(start), gr.skip(), gr.skip()]
        downloads = [
            # in gradio's folder under the name of their content, and removed by its schedule
            gr.update(value=save_bytes_to_cache(content, name, csv.GRADIO_CACHE), visible=True)
            for content, name in (
                (as_csv(work.records), "captions.csv"),
                (as_jsonl(work.records), "captions.jsonl"),
            )
        ]
        return [work.progress(ended=True), *shown(start), *downloads]

    results, ends = [job, progress, table, start, stop], [progress, start, stop, csv, jsonl]
    # One at a time, for all visitors: it keeps the processor busy as it is.
    alone = {"concurrency_limit": 1, "concurrency_id": "many"}
    begun = start.click(begin, [files], [*results, csv, jsonl], **QUIET)
    running = begun.success(run, [files, num_beams, model], results, **QUIET, **alone)
    for ended in (running.success, running.failure):
        ended(finish, [job], ends, **QUIET)
    stop.click(finish, [job], ends, cancels=[running], **QUIET)

    @answers(captioners, seconds=MAX_SECONDS)
    def caption_many(
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
            raise complaint(NOTHING)
        captioner = chosen(captioners, model)
        with one_line():
            count(files)
            if skipped := count_skipped(files):
                gr.Info(describe_skipped(skipped))
            done = []
            for batch in caption_uploads(captioner, files, int(num_beams) or None):
                done = done + [record for record, _ in batch]
                yield done

    with gr.Row(visible=False):
        inputs = [
            _many_files(),
            gr.Number(0, minimum=0, maximum=MAX_BEAMS, label="num_beams"),
            gr.Textbox("", label="model"),
        ]
        gr.Button().click(caption_many, inputs, gr.JSON(), api_name="caption_many", **alone)


def _received(payload: ListFiles | None) -> list[Upload]:
    with one_line():
        return read_uploads(payload)


def _many_files() -> gr.File:
    files = gr.File(
        label="Photos, or a zip of photos",
        file_count="multiple",
        file_types=FILE_TYPES,
        height=220,
    )
    files.preprocess = _received
    return files
