"""Export a captioner for others to use: `python -m training.export RUN --output DIR`.

The folder has the run's best captioner in half precision and a model card made from the run. It
opens in the page, on the command line and in Python; `--push` uploads it to the hub.
"""

import argparse
import sys
from pathlib import Path

from model.error_reporting import report_errors
from training.options import HelpFormatter
from training.publish.exporting import CARD, export_captioner
from training.publish.upload import check_upload, upload_captioner


@report_errors
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.export",
        description="Write a captioner and its model card into a folder, and push it to the hub.",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("run", metavar="RUN", type=Path, help="run folder of training.train, or a captioner's")
    add("--output", required=True, metavar="DIR", type=Path, help="a new folder")
    add(
        "--scores",
        metavar="FILE.json",
        type=Path,
        help="scores for the card, written by training.evaluate",
    )
    add(
        "--license",
        metavar="ID",
        default="other",
        help="the hub's name of the licence, which depends on the photos",
    )
    add("--push", metavar="USER/NAME", help="upload the folder to the hub under this name")
    add("--private", action="store_true", help="with --push: make the repository private")
    settings = parser.parse_args(arguments)
    if settings.private and not settings.push:
        parser.error("argument --private: only allowed with --push")
    if settings.push:
        check_upload(settings.push)
    export_captioner(
        settings.run, settings.output, settings.push, settings.scores, settings.license
    )
    print(f"{settings.output} holds the captioner and its card, {CARD}")
    if settings.push:
        print(f"pushed to {upload_captioner(settings.output, settings.push, settings.private)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
