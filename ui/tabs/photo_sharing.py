"""One photo for all tabs: the one that was chosen last comes along to the tab that is opened.

In the browser (`captionLens` is of `ui/scripts/photos.js`): on its way through Python a tab's own
photo would be encoded again, and count as a new one.
"""

import json
from typing import Any, NamedTuple

import gradio as gr

from ui.serving.requests import PAGE_EVENT

NOTE_SCRIPT = "(photo) => window.captionLens?.notePhoto(photo)"
TAKE_SCRIPT = """(own, captioned) => {{
  const others = {others}, skipped = {{ __type__: "update" }};
  const photo = window.captionLens?.findNewer(own, captioned); // its tab opens before the scripts
  return photo ? [photo, ...others] : [skipped, ...others.map(() => skipped)];
}}"""
TAKE_CAPTION_SCRIPT = """(own, captioned, lens) => {
  const isTaken = window.captionLens?.findNewer(own, captioned)?.url === captioned?.url;
  const isCaptioned = isTaken && lens?.state === "done";
  return isCaptioned ? lens.words.map((word) => word.text).join(" ") : { __type__: "update" };
}"""


class Sharer(NamedTuple):
    """A tab with a photo, what it shows of it, and what that is without a result."""

    item: gr.Tab
    photo: gr.Image
    result: gr.HTML | None = None
    empty_value: Any = None


def share_photos(sharers: list[Sharer], first_photo: gr.Image) -> None:
    """Have each tab take the photo along; `first_photo` is what the page opens with."""
    for item, photo, result, empty_value in sharers:
        outputs, others = [photo], []
        if result is not None:
            outputs, others = [photo, result], [empty_value]
        photo.change(None, [photo], None, js=NOTE_SCRIPT, **PAGE_EVENT)
        script = TAKE_SCRIPT.format(others=json.dumps(others))
        item.select(None, [photo, first_photo], outputs, js=script, **PAGE_EVENT)


def share_caption(
    sharer: Sharer, sentence: gr.Textbox, first_photo: gr.Image, lens: gr.HTML
) -> None:
    """Have a tab take the caption along with the photo, once it is whole. To be called before
    `share_photos`, after which the tab has the photo."""
    inputs = [sharer.photo, first_photo, lens]
    sharer.item.select(None, inputs, [sentence], js=TAKE_CAPTION_SCRIPT, **PAGE_EVENT)
