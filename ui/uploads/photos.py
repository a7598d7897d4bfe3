"""A visitor's photos: how they come in, and how they are shown."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import ListFiles
from gradio.events import Dependency
from PIL import Image, ImageOps

from model.errors import ImageError
from model.images import fit_photo, load_image
from ui.errors import user_error, user_errors
from ui.gradio_internals import set_preprocess
from ui.serving.cancellation import Visitor, check_still_waiting, work_for
from ui.serving.executor import CORES
from ui.uploads.files import Upload, find_upload, read_uploads
from ui.uploads.limits import check_size

EXAMPLES_FOLDER = Path(__file__).parents[2] / "assets" / "examples"
# Photos that the shipped captioner captions rightly, and a failure that is labelled so
FAILURE = "rocket"
EXAMPLES = [
    EXAMPLES_FOLDER / f"{name}.jpg" for name in ("photographer", "cat", "scissors", FAILURE)
]
# A phone's rear camera first; other devices have what they have. The size is gradio's own.
CAMERA = {
    "facingMode": {"ideal": "environment"},
    "width": {"ideal": 1920},
    "height": {"ideal": 1440},
}
# A browser knows what is an image by its own list, which may lack some that we can open
FILE_TYPES = ["image", ".heic", ".heif", ".avif", ".jp2", ".ppm", ".tif", ".tiff", ".zip"]
LARGE_PIXELS = 25_000_000  # more than most cameras make; 75 MB while it is decoded
# For a photo that cannot be opened, which is not shown. In the browser at once: a visitor may have
# chosen another one by the time that Python answers.
CLEAR_SCRIPT = "() => null"
DISPLAY_SIDE = 768  # pixels of the longer side of a photo on the page


def create_photo_input(
    label: str = "Photo", value: Path | None = None, elem_id: str | None = None
) -> gr.Image:
    """Upload, paste or camera. A photo that cannot be opened is one clear line.

    The camera is not mirrored: gradio would keep the mirror image that it shows.
    """
    photo = gr.Image(
        value,
        label=label,
        sources=["upload", "clipboard", "webcam"],
        webcam_options=gr.WebcamOptions(mirror=False, constraints={"video": CAMERA}),
        height=240,
        elem_id=elem_id,
    )
    # gr.Image's own answers a broken photo with "Error" and a trace in the log
    set_preprocess(photo, read_upload)
    return photo


def create_files_input(
    label: str = "Photos, or a zip of photos",
    file_types: Sequence[str] = FILE_TYPES,
    height: int = 220,
) -> gr.File:
    """Files, of these kinds in the browser's chooser; their handler gets a list of `Upload`."""
    files = gr.File(
        label=label,
        file_count="multiple",
        file_types=list(file_types),
        height=height,
    )
    set_preprocess(files, _read_files)
    return files


def _read_files(payload: ListFiles | None) -> list[Upload]:
    with user_errors():
        return read_uploads(payload)


def create_examples(photo: gr.Image) -> Dependency:
    """A row of example photos; choosing one puts it into `photo`. Returns that event.

    Not gr.Examples, which makes the photo component anew, nor gr.Dataset, whose pictures have no
    names for those who cannot see them.
    """
    buttons = "".join(
        f'<button type="button" data-name="{path.stem}"'
        f' aria-label="{html.escape(_describe_example(path))}">'
        f'<img alt="" src="{to_data_url(ImageOps.fit(load_image(path), (96, 96)))}"></button>'
        for path in EXAMPLES
    )
    note = f"The {FAILURE} it gets wrong."
    row = gr.HTML(
        html_template=f'<p>Or choose an example</p><div class="examples">{buttons}</div>'
        f"<p>{note}</p>",
        js_on_load="""element.querySelectorAll("button").forEach((button, index) => {
          button.onclick = () => trigger("pick", { index });
        });""",
        apply_default_css=False,
    )

    def find_example(event: gr.EventData) -> str:
        try:
            return str(EXAMPLES[int(event.index)])
        except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
            raise user_error("Choose one of the examples.") from error  # from no page of ours

    return row.pick(find_example, None, [photo], show_progress="hidden", api_visibility="private")


def _describe_example(path: Path) -> str:
    return f"{path.stem}, which it gets wrong" if path.stem == FAILURE else path.stem


def require_photo(photo: Image.Image | None) -> Image.Image:
    """The photo; raises gr.Error where there is none."""
    if photo is None:
        raise user_error("Choose a photo first.")
    return photo


def read_upload(upload: Any) -> Image.Image | None:
    """A visitor's photo, from gradio's ImageData; raises gr.Error, in one line."""
    if upload is None:
        return None
    try:
        if upload.url and upload.url.startswith("data:"):
            try:
                content = base64.b64decode(upload.url.partition(",")[2])
            except ValueError as error:
                raise ImageError(f"no base64 ({error})") from error
            check_size("image", len(content))
            return _load(content)
        if not upload.path:
            raise ImageError("Give a file, or the address of one.")
        path = find_upload(upload.path)
        check_size("image", path.stat().st_size)
        return _load(path)
    except ImageError as error:
        # the visitor knows the photo by its own name, not by that of our copy
        name = upload.orig_name or "This photo"
        problem = str(error).removeprefix(f"{upload.path}: ").removeprefix("image: ")
        raise user_error(f"{name}: {problem}") from error


def _load(source: bytes | Path) -> Image.Image:
    """As `load_image`; a large photo when it is the visitor's turn at the cores, as a small file
    can be a gigabyte while it is decoded. (Were the others to wait too, fewer would come together
    in time to be captioned in one batch: half as many captions a second.)

    Raises gr.Error for the visitor of a large photo who has left meanwhile.
    """
    if not _is_large(source):
        return load_image(source)
    with work_for(Visitor()):
        return CORES.run(_load_if_wanted, source)


def _is_large(source: bytes | Path) -> bool:
    """Whether it has, or may have, more than `LARGE_PIXELS`."""
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            return image.width * image.height > LARGE_PIXELS
    except Exception:  # Pillow raises anything over a broken file: `load_image` says what is wrong
        return True


def _load_if_wanted(source: bytes | Path) -> Image.Image:
    check_still_waiting()
    return load_image(source)


def fit_for_display(photo: Image.Image) -> Image.Image:
    """The photo at the size that the page shows."""
    return fit_photo(photo, DISPLAY_SIDE)


def to_data_url(photo: Image.Image, quality: int = 88) -> str:
    """The photo inside an address, so that the page need not ask for it."""
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
