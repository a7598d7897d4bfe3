"""`python -m benchmarks`: everything that is measured here, as one table.

Each comparison is measured in turns in this run; seconds differ from machine to machine and from
minute to minute, ratios hardly. `--output FILE` writes the rows as JSON too.
"""

import argparse
import json
from itertools import chain
from pathlib import Path

from benchmarks import (
    generate,
    machine,
    maps,
    memory,
    page,
    photo,
    rivals,
    start,
    step,
    training,
    translate,
)
from benchmarks.timing import print_rows

PARTS = {"machine": machine, "photo": photo, "start": start, "page": page, "step": step}
PARTS |= {"generate": generate, "rivals": rivals, "maps": maps, "memory": memory}
PARTS |= {"translate": translate, "training": training}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all")
    parser.add_argument("--output", type=Path, help="also write the rows here, as JSON")
    settings = parser.parse_args()
    if strange := [name for name in settings.parts if name not in PARTS]:
        parser.error(f"unknown: {', '.join(strange)}; choose from {', '.join(PARTS)}")
    chosen = settings.parts or list(PARTS)
    rows = print_rows(chain.from_iterable(PARTS[name].measure() for name in chosen))
    if settings.output:
        settings.output.write_text(json.dumps([row._asdict() for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
