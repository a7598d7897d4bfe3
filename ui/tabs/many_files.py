"""The files that the tab "Many photos" offers: CSV for spreadsheets, JSON lines for programs."""

import re
from typing import Any

from model.output.records import choose_csv_columns, make_csv_heading, to_csv, to_jsonl

# Where a spreadsheet may see a formula begin, in both widths of its signs: at the start of a text,
# and behind what parts cells in some country, with blanks and quotes between.
FORMULA_START = re.compile(r"""((?:^|[,;\t\r\n|])[\s"']*)(?=[=+\-@＝＋－＠])""")


def make_csv(records: list[dict[str, Any]]) -> bytes:
    """As `python -m model caption --format csv`, but made for spreadsheets, where names out of a
    stranger's zip must not become formulas, whatever parts their cells: an apostrophe stands before
    what would. It begins with a byte order mark, without which Excel takes UTF-8 for something
    else."""
    columns = choose_csv_columns(
        has_memory=any("memory" in record for record in records),
        is_translated=any("language" in record for record in records),
    )
    lines = [make_csv_heading(columns)]
    for record in records:
        harmless = {
            key: FORMULA_START.sub(r"\1'", value) if isinstance(value, str) else value
            for key, value in record.items()
        }
        lines.append(to_csv(harmless, columns))
    return "".join(lines).encode("utf-8-sig")


def make_jsonl(records: list[dict[str, Any]]) -> bytes:
    """As `python -m model caption --format jsonl`."""
    return "".join(map(to_jsonl, records)).encode()
