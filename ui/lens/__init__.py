"""The lens: the part of the page that shows a caption and where each of its words looked.

It is one `gr.HTML` that only displays: its value comes from `ui.lens.values`, `lens.js` draws it.
It triggers the events "explain" (a text, with a method, layer and head), "go_on" (a beginning that
the model completes), "heads" (every head's map), "translate" (the caption), "save" (a figure, or
the data) and "give_up" (the maps that it waits for are not wanted). What a visitor shares (a
picture, an animation) is made in the browser by `share.js`.
"""

import json
from pathlib import Path

import gradio as gr

from model.output.overlays import CONTOUR, STYLES
from ui.lens.values import EmptyValue, ExplainedValue
from ui.serving.translation import name_languages

FOLDER = Path(__file__).parent
# one after the other, as one script
SCRIPTS = (
    *("draw.js", "share.js", "state.js", "memory.js", "words.js", "play.js"),
    *("settings.js", "translation.js", "heads.js", "requests.js", "lens.js"),
)


def create_lens(value: EmptyValue | ExplainedValue, elem_id: str) -> gr.HTML:
    """The component; a result that it opens with is played once."""
    return gr.HTML(
        value,
        html_template=(FOLDER / "lens.html").read_text(),
        js_on_load=_make_script(),
        apply_default_css=False,
        elem_id=elem_id,
    )


def _make_script() -> str:
    """The lens's scripts, after what they share with Python: the styles of maps that figures have
    too, and the languages that the page offers."""
    styles = {
        name: {
            "label": style.label,
            "photoColour": style.photo_colour,
            "table": style.table.tolist(),
            "contour": CONTOUR if style.has_contour else None,
        }
        for name, style in STYLES.items()
    }
    scripts = [(FOLDER / name).read_text() for name in SCRIPTS]
    constants = {"STYLES": styles, "LANGUAGES": name_languages()}
    return "\n".join(
        [f"const {name} = {json.dumps(value)};" for name, value in constants.items()] + scripts
    )


def make_failure_script(lens: gr.HTML) -> str:
    """The browser's part when a caption failed: a toast says why, and the lens stops waiting."""
    return make_answer_script(lens, "failed")


def make_answer_script(lens: gr.HTML, name: str) -> str:
    """The browser's part when there is an answer that is not the lens's value: the lens gets it, as
    an event `lens:NAME`."""
    return (
        f"(detail) => document.querySelector('#{lens.elem_id} .lens').parentElement"
        f".dispatchEvent(new CustomEvent('lens:{name}', {{ detail }}))"
    )
