"""CaptionLens as a page: drop a photo, read its caption, see where each word looked.

`python app.py` opens it with the shipped checkpoint; no network is needed. Set
CAPTIONLENS_CHECKPOINT to a folder or a hub id (or several, with commas between) to offer others.
"""

import logging
import os
import signal
import sys
import warnings

from ui.command_line import parse_arguments

if __name__ == "__main__":
    parse_arguments()  # before what takes seconds to import

# gradio sums up its last 10,000 requests after each one, with pandas
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000")
# a visitor's address behind a proxy of this host's own network, such as a Space's
os.environ.setdefault("FORWARDED_ALLOW_IPS", "127.0.0.1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16")

from fastapi.exceptions import RequestValidationError  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402
from starlette.routing import Route  # noqa: E402

from model import CheckpointError  # noqa: E402
from model.error_reporting import print_error  # noqa: E402
from ui.gradio_internals import MCP_ROUTES, get_request_errors  # noqa: E402
from ui.page import CSS, SCRIPT, build, create_theme  # noqa: E402
from ui.serving.captioners import Captioners  # noqa: E402
from ui.serving.gate import Gate  # noqa: E402
from ui.serving.housekeeping import make_lifespan  # noqa: E402
from ui.serving.link_preview import PREVIEW_ROUTE, LinkPreview, answer_preview  # noqa: E402
from ui.serving.service import (  # noqa: E402
    answer_health,
    answer_invalid_body,
    answer_os_error,
    answer_unknown_request,
    make_shutdown_handler,
)
from ui.serving.shares import MAX_WAITING  # noqa: E402
from ui.serving.translation import get_translator  # noqa: E402
from ui.uploads.folder import UploadFolder  # noqa: E402

# gradio's warnings quote what a visitor sent; nothing of it belongs into the log
warnings.filterwarnings("ignore", module=r"gradio\.components")
# a line for each request, among what gradio prints
log = logging.getLogger("captionlens")
log.setLevel(logging.INFO)
log.addHandler(logging.StreamHandler())
log.handlers[-1].setFormatter(logging.Formatter("%(asctime)s %(message)s"))
try:
    captioners = Captioners()
    captioners.get()  # the first one is there before the first visitor is
    get_translator()
    folder = UploadFolder()
except (CheckpointError, OSError) as error:
    print_error(error)
    sys.exit(1)
OWN_ROUTES = {"/health": answer_health, PREVIEW_ROUTE: answer_preview}
demo = build(captioners).queue(max_size=MAX_WAITING)

if __name__ == "__main__":
    demo.launch(
        theme=create_theme(),
        css=CSS,
        js=SCRIPT,
        max_file_size="100mb",  # a zip of photos may be that large; each photo in it may not
        state_session_capacity=500,  # visitors whose lesson or table is kept, half a megabyte each
        run_history=False,
        app_kwargs={
            "routes": [Route(path, answer) for path, answer in OWN_ROUTES.items()],
            "middleware": [
                Middleware(Gate, folder=folder, own_routes=(*OWN_ROUTES, *MCP_ROUTES)),
                Middleware(LinkPreview),
            ],
            "lifespan": make_lifespan(folder),
            "exception_handlers": {
                OSError: answer_os_error,
                RequestValidationError: answer_invalid_body,
                **dict.fromkeys(get_request_errors(), answer_unknown_request),
            },
        },
        prevent_thread_lock=True,
    )
    signal.signal(signal.SIGTERM, make_shutdown_handler(demo))
    demo.block_thread()
