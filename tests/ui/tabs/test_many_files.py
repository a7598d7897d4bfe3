"""The files of "Many photos": what a spreadsheet reads is text, never a formula."""

import csv
import io
import json

import pytest

from ui.tabs.many_files import make_csv, make_jsonl


def test_a_spreadsheet_sees_no_formula():
    done = [
        {"image": "=1+1.jpg", "error": "=1+1.jpg: broken"},
        {"image": "a.jpg", "caption": "-x", "log_probability": -1.5, "words": []},
        {"image": "＝1.jpg", "error": "é.jpg: broken"},
    ]
    table = make_csv(done)
    assert table.startswith("\ufeffimage,".encode()), "Excel reads accents where this begins it"
    rows = list(csv.reader(io.StringIO(table.decode("utf-8-sig"))))
    assert rows[1:3] == [
        ["'=1+1.jpg", "", "", "'=1+1.jpg: broken"],
        ["a.jpg", "'-x", "-1.5000", ""],
    ]
    assert rows[3] == ["'＝1.jpg", "", "", "é.jpg: broken"]
    assert json.loads(make_jsonl(done).splitlines()[0])["image"] == "=1+1.jpg"


def test_translations_have_columns_where_there_are_some():
    record = {"image": "a.jpg", "caption": "A dog.", "log_probability": -1.5, "words": []}
    translated = record | {"translation": "=Ein Hund.", "language": "de"}
    broken = {"image": "b.jpg", "error": "b.jpg: broken"}
    rows = list(csv.reader(io.StringIO(make_csv([broken, translated]).decode("utf-8-sig"))))
    assert rows[0] == ["image", "caption", "log_probability", "error", "translation", "language"]
    assert rows[1][-2:] == ["", ""] and rows[2][-2:] == ["'=Ein Hund.", "de"]
    assert "language" not in make_csv([broken, record]).decode("utf-8-sig")


@pytest.mark.parametrize("parts_cells_with", ",;\t")
@pytest.mark.parametrize(
    "name",
    ["x;=1+1.jpg", "x;=1+1;.jpg", "x\t@a.jpg", 'x;"=1"', 'x;"";"+1"', "x; \t-1", "x,=1", "x\n=1"],
)
def test_nor_where_other_signs_part_its_cells(name, parts_cells_with):
    done = [
        {"image": name, "error": f"{name}: broken"},
        {"image": "a.jpg", "caption": name, "log_probability": 0.0, "words": []},
    ]
    table = io.StringIO(make_csv(done).decode("utf-8-sig"), newline="")
    cells = [cell for row in csv.reader(table, delimiter=parts_cells_with) for cell in row]
    assert not [cell for cell in cells if cell.lstrip(' \t\n"').startswith(tuple("=+-@＝"))]
