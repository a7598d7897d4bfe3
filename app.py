"""CaptionLens as a page: drop a photo, read its caption, see where each word looked.

`python app.py` opens it with the shipped checkpoint; no network is needed. Set
CAPTIONLENS_CHECKPOINT to a folder or a hub id (or several, with commas between) to offer others.
"""

import logging
import sys

from model import CheckpointError
from ui.captioners import Captioners
from ui.page import CSS, build, theme

# a line for each request, among what gradio prints
log = logging.getLogger("captionlens")
log.setLevel(logging.INFO)
log.addHandler(logging.StreamHandler())
log.handlers[-1].setFormatter(logging.Formatter("%(asctime)s %(message)s"))
try:
    captioners = Captioners()
    captioners.get()  # the first one is there before the first visitor is
except CheckpointError as error:
    sys.exit(f"error: {error}")
demo = build(captioners).queue(max_size=32)

if __name__ == "__main__":
    # a zip of photos may be that large; each photo in it may not
    demo.launch(theme=theme(), css=CSS, max_file_size="100mb", run_history=False)
