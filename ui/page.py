"""The page: what is above the tabs, the tabs, and how photos go from one to the other."""

from pathlib import Path

import gradio as gr

from ui import gradio_internals
from ui.endpoints import add_endpoints
from ui.lens.values import make_empty_value
from ui.lesson import tab as lesson
from ui.serving.captioners import Captioners
from ui.serving.request_checks import Page
from ui.serving.shares import FairShares
from ui.tabs import caption, compare, explain, many
from ui.tabs.choice import CaptionerChoice, connect_captioner_choice, create_captioner_choice
from ui.tabs.many_rows import connect_rows
from ui.tabs.photo_sharing import Sharer, share_caption, share_photos
from ui.tabs.reload import keep_over_reload
from ui.uploads.addresses import download_file

CSS = "\n".join(path.read_text() for path in sorted(Path(__file__).parent.rglob("*.css")))
# one after the other, as one script
SCRIPTS = ("notes.js", "toasts.js", "photos.js", "addresses.js", "reload.js")
SCRIPT = "\n".join(
    ["() => {", *((Path(__file__).parent / "scripts" / name).read_text() for name in SCRIPTS), "}"]
)
TITLE = "# CaptionLens\nA caption, and where each word looked."
PHOTO_CAME_ALONG = "Choose “Caption” to see the photo's caption."


def create_theme() -> gr.Theme:
    """Quiet, with local fonts, and greys that can be read (4.5:1) in light and dark."""
    return gr.themes.Default(
        primary_hue="orange",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        color_accent="#b3470b",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        block_title_text_color="*neutral_800",
        block_title_text_color_dark="*neutral_100",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill="#b3470b",
        button_primary_background_fill_hover="#933a09",
        button_primary_background_fill_dark="#ff9d5c",
        button_primary_background_fill_hover_dark="#ffb380",
        button_primary_text_color="white",
        button_primary_text_color_dark="#16181d",
    )


def build(captioners: Captioners) -> gr.Blocks:
    """The page, yet to be launched with `create_theme()`, `CSS` and `SCRIPT`."""
    gradio_internals.install(download_file, FairShares())
    with Page(title="CaptionLens") as page:
        choice = create_captioner_choice(captioners, TITLE)
        keep_over_reload(page, choice, _add_tabs(captioners, choice))
        connect_captioner_choice(choice, captioners)
        add_endpoints(captioners)
    return page


def _add_tabs(captioners: Captioners, choice: CaptionerChoice) -> caption.CaptionTab:
    """All tabs, and what goes from one to the other; returns the first."""
    with gr.Tabs(overflow_behavior="wrap"):
        with gr.Tab("Caption") as caption_item:
            caption_tab = caption.build(captioners, choice)
        with gr.Tab("Explain my sentence") as explain_item:
            explain_tab = explain.build(captioners, choice)
        with gr.Tab("Many photos"):
            many_tab = many.build(captioners, choice)
        came_along, empty = map(make_empty_value, (PHOTO_CAME_ALONG, explain.PROMPT))
        explain_sharer = Sharer(explain_item, explain_tab.photo, explain_tab.lens, empty)
        sharers = [
            Sharer(caption_item, caption_tab.photo, caption_tab.lens, came_along),
            explain_sharer,
        ]
        if captioners.has_choice:
            with gr.Tab("Compare models") as item:
                tab = compare.build(captioners, choice)
            sharers.append(
                Sharer(item, tab.photo, tab.result, compare.render_status(compare.PROMPT))
            )
        with gr.Tab("How cross-attention works") as lesson_item:
            sharers.append(Sharer(lesson_item, lesson.build(captioners, choice.model).photo))
    share_caption(explain_sharer, explain_tab.sentence, caption_tab.photo, caption_tab.lens)
    share_photos(sharers, caption_tab.photo)
    connect_rows(many_tab, caption_tab, choice, captioners)
    return caption_tab
