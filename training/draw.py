"""Draw a small captioned data set: `python -m training.draw DIR`.

`training/data/shapes.py` says what is drawn.
"""

import argparse
import sys
from pathlib import Path

from model.error_reporting import report_errors
from training.data.shapes import write_shapes
from training.options import HelpFormatter


@report_errors
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.draw",
        description="Draw pictures of two coloured shapes with true captions, to try training on.",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="a new folder")
    parser.add_argument("--count", type=int, default=1000, help="pictures of both splits")
    parser.add_argument("--seed", type=int, default=0, help="seed of the scenes and the drawing")
    settings = parser.parse_args(arguments)
    counts = write_shapes(settings.folder, settings.count, settings.seed)
    summary = ", ".join(f"{count} in {split}/" for split, count in counts.items())
    print(f"{settings.folder}: {summary}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
