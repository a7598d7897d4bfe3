"""The lens: the part of the page that shows a caption and where each of its words looked.

It is one `gr.HTML` that only displays: its value comes from `ui.lens.values`, `lens.js` draws it.
It triggers the events "explain" (a text, with a method, layer and head), "go_on" (a beginning that
the model completes) and "save" (a figure, or the data).
"""

from pathlib import Path

import gradio as gr

from ui.lens.values import make_empty_value

FOLDER = Path(__file__).parent


def create_lens(prompt: str, elem_id: str) -> gr.HTML:
    """The component; it shows `prompt` until there is a caption."""
    return gr.HTML(
        make_empty_value(prompt),
        html_template=(FOLDER / "lens.html").read_text(),
        js_on_load=(FOLDER / "lens.js").read_text(),
        apply_default_css=False,
        elem_id=elem_id,
    )


def make_failure_script(lens: gr.HTML) -> str:
    """The browser's part when a request failed: a toast says why, and the lens stops waiting."""
    return (
        f"() => document.querySelector('#{lens.elem_id} .lens').parentElement"
        ".dispatchEvent(new CustomEvent('lens:failed'))"
    )
