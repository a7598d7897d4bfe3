"""A visitor's photos: how they come in, and how they are shown."""

import base64
import html
import io
from pathlib import Path

import gradio as gr
from gradio.events import Dependency
from PIL import Image, ImageOps

from model.errors import ImageError
from model.images import fit, load_image
from ui.errors import complaint
from ui.uploads.files import check_size, our_copy

EXAMPLES = sorted((Path(__file__).parents[2] / "assets" / "examples").glob("*.jpg"))
# A phone's rear camera first; other devices have what they have. The size is gradio's own.
CAMERA = {
    "facingMode": {"ideal": "environment"},
    "width": {"ideal": 1920},
    "height": {"ideal": 1440},
}
SHOWN_SIDE = 768  # pixels: photos are brought to this for display


def photo_input(label: str = "Photo") -> gr.Image:
    """Upload, paste or camera. A photo that cannot be opened is one clear line.

    The camera is not mirrored: gradio would keep the mirror image that it shows.
    """
    photo = gr.Image(
        label=label,
        sources=["upload", "clipboard", "webcam"],
        webcam_options=gr.WebcamOptions(mirror=False, constraints={"video": CAMERA}),
        height=300,
    )
    # gr.Image's own answers a broken photo with "Error" and a trace in the log
    photo.preprocess = read_upload
    return photo


def examples(photo: gr.Image) -> Dependency:
    """A row of example photos; choosing one puts it into `photo`. Returns that event.

    Not gr.Examples, which makes the photo component anew, nor gr.Dataset, whose pictures have no
    names for those who cannot see them.
    """
    buttons = "".join(
        f'<button type="button" aria-label="{html.escape(path.stem)}">'
        f'<img alt="" src="{data_url(ImageOps.fit(load_image(path), (96, 96)))}"></button>'
        for path in EXAMPLES
    )
    row = gr.HTML(
        html_template=f'<p>Or choose an example</p><div class="examples">{buttons}</div>',
        js_on_load="""element.querySelectorAll("button").forEach((button, index) => {
          button.onclick = () => trigger("pick", { index });
        });""",
        apply_default_css=False,
    )

    def pick(event: gr.EventData) -> str:
        try:
            return str(EXAMPLES[int(event.index)])
        except (AttributeError, IndexError, TypeError, ValueError):  # from no page of ours
            raise complaint("Choose one of the examples.") from None

    return row.pick(pick, None, [photo], show_progress="hidden", api_visibility="private")


def read_upload(payload) -> Image.Image | None:
    """A visitor's photo through our one door, so that trouble with it is one clear line."""
    if payload is None:
        return None
    try:
        if payload.url and payload.url.startswith("data:"):
            try:
                content = base64.b64decode(payload.url.partition(",")[2])
            except ValueError as error:
                raise ImageError(f"no base64 ({error})") from error
            check_size("image", len(content))
            return load_image(content)
        if not payload.path:
            raise ImageError("Give a file, or the address of one.")
        kept = our_copy(payload.path)
        check_size("image", kept.stat().st_size)
        return load_image(kept)
    except ImageError as error:
        # the visitor knows the photo by its own name, not by that of our copy
        name = payload.orig_name or "This photo"
        problem = str(error).removeprefix(f"{payload.path}: ").removeprefix("image: ")
        raise complaint(f"{name}: {problem}") from None


def shown(photo: Image.Image) -> Image.Image:
    """The photo at the size it is shown in."""
    return fit(photo, SHOWN_SIDE)


def data_url(photo: Image.Image, quality: int = 88) -> str:
    """The photo inside an address, so that the page need not ask for it."""
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
