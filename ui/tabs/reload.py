"""What a reload of the page brings back: photo, caption, the captioner and the options.

The browser keeps them itself (`captionLens` is of `ui/scripts/reload.js`) while the window is open;
here the photo's file is kept for an hour.
"""

import gradio as gr

from ui.serving.requests import PAGE_EVENT
from ui.tabs.caption import CaptionTab
from ui.tabs.choice import CaptionerChoice

KEEP_SCRIPT = "(photo, ...options) => window.captionLens?.keep({ photo, options })"
RESTORE_SCRIPT = """async () => {{
  while (!window.captionLens?.restore) await new Promise((done) => setTimeout(done, 20));
  return captionLens.restore({num_options});
}}"""


def keep_over_reload(page: gr.Blocks, choice: CaptionerChoice, tab: CaptionTab) -> None:
    """Keep what the Caption tab holds, and bring it back."""
    own = [tab.search, tab.num_beams, tab.temperature, tab.num_captions, tab.prefix]
    options = [*choice.inputs, choice.loaded, choice.memory.menu, *own]
    kept = [tab.photo, *options]
    gr.on(
        [component.change for component in kept],
        None,
        kept,
        None,
        js=KEEP_SCRIPT,
        **PAGE_EVENT,
    )
    script = RESTORE_SCRIPT.format(num_options=len(options))
    outputs = [tab.photo, tab.lens, *options]
    page.load(None, None, outputs, js=script, **PAGE_EVENT)
