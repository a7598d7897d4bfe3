"""Captions for a visitor's many photos, and how far they are, as the page shows it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup
from PIL import Image

from model import Captioner
from model.batches import BATCH_SIZE, caption_all
from model.errors import ImageError
from model.memory import Memory
from model.output.records import add_translations, make_records
from model.wording import NOTHING_TO_SAY, describe_likelihood
from ui.serving.cancellation import check_still_waiting
from ui.serving.translation import require_translator
from ui.tabs.memory import NONE
from ui.templates import render
from ui.uploads.files import Photo, Upload, list_photos
from ui.uploads.photos import to_data_url

THUMBNAIL_SIDE = 96  # pixels; shown at half of it, for sharp screens


@dataclass(frozen=True)
class Job:
    """How far one visitor's photos are. It holds no photo.

    Each batch makes a new one, so that one that was cancelled half-way leaves nothing behind.
    """

    total: int
    skipped: int  # files in zips that are no photos
    prompt: str | None = None  # what the captioner is asked
    memory_name: str = NONE  # of the memory that it borrows from
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
    captioner: Captioner,
    uploads: list[Upload],
    num_beams: int | None = None,
    language: str = "",
    *,
    memory: Memory | None = None,
    memory_name: str = NONE,
) -> Iterator[list[tuple[dict[str, Any], Image.Image | None]]]:
    """Each photo's record and thumbnail, a batch at a time. Nothing runs once it is closed.

    A photo is encoded as soon as it was read and then dropped: at most one is in memory.

    language: into which captions are translated too, if it is not empty.
    memory, memory_name: what the captions may borrow from, and its name in the menu.

    Raises OptionError for a number of beams or a language that cannot be, before any photo is read.
    """
    translator = require_translator(language) if language else None
    options = {} if num_beams is None else {"num_beams": num_beams}

    def encode(photo: Photo):
        """Its name and thumbnail, and what `Captioner.encode` makes of it or the error."""
        check_still_waiting()
        try:
            image = photo.load()
        except ImageError as error:
            return (photo.name, None), error
        encoded = captioner.encode([image], memory)[0]
        image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        return (photo.name, image), encoded

    written_memory = None if memory is None else memory_name
    photos = map(encode, list_photos(uploads))
    for batch in caption_all(captioner, photos, BATCH_SIZE, on_step=check_still_waiting, **options):
        records = [
            make_records(name, result, captioner.name, written_memory)[0]
            for (name, _), result in batch
        ]
        if translator:
            add_translations(records, translator, language)
        thumbnails = [thumbnail for (_, thumbnail), _ in batch]
        yield list(zip(records, thumbnails, strict=True))


def render_row(record: dict[str, Any], thumbnail: Image.Image | None, row: int = 0) -> Markup:
    """A record as a row of the table, the first of which is 0."""
    likelihood = ""
    if words := record.get("words"):
        likelihood = describe_likelihood(record["log_probability"], len(words))
    return render(
        "tabs/many.html",
        record=record,
        row=row,
        problem=record.get("error", "").removeprefix(f"{record['image']}: "),
        no_caption=NOTHING_TO_SAY,
        likelihood=likelihood,
        thumbnail=to_data_url(thumbnail) if thumbnail else "",
    )
