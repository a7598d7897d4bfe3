"""Tables as people and programs write them, whole and damaged."""

import csv
import io
import random

import pytest

from model.corpora.tables import MAX_CELL_LINES, read_table
from training.data import DataError


@pytest.fixture
def read(tmp_path):
    def read(text: str | bytes, name: str = "captions.csv") -> list[dict]:
        content = text.encode() if isinstance(text, str) else text
        (tmp_path / name).write_bytes(content)
        return [row for _, row in read_table(tmp_path / name).rows]

    return read


def captions(rows: list[dict]) -> list[str]:
    return [row["caption"] for row in rows]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_what_csv_writes_is_read_back(delimiter, quoting, ending, read):
    source = random.Random(delimiter)
    texts = ["".join(source.choices("ab \"',;\n\t", k=12)).strip() for _ in range(50)]
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=ending)
    writer.writerow(["image", "caption"])
    writer.writerows((f"{i}.jpg", text) for i, text in enumerate(texts))
    assert captions(read(file.getvalue())) == texts


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_encodings_of_spreadsheets(encoding, read):
    rows = read("image\tcaption\r\na.jpg\tun café\r\n".encode(encoding))
    assert rows == [{"image": "a.jpg", "caption": "un café"}]


@pytest.mark.parametrize(
    "line, caption",
    [
        ("a.jpg,A dog , wet , on grass", "A dog , wet , on grass"),
        ("a.jpg,A dog,,", "A dog"),  # a spreadsheet's empty cells
        ('a.jpg,"A dog, wet", on grass', '"A dog, wet", on grass'),
        ('a.jpg,"Open" sign over a door', '"Open" sign over a door'),
        ('a.jpg,"Open" sign, over a door', '"Open" sign, over a door'),
        ('a.jpg,"Hello sign over a door', '"Hello sign over a door'),
        ('a.jpg,A "Hello" sign, over a door', 'A "Hello" sign, over a door'),
        ('a.jpg,"A dog, ""wet"""', 'A dog, "wet"'),
    ],
)
@pytest.mark.parametrize("after", ["", "\nb.jpg,a cat", '\nb.jpg,"a cat, asleep"\nc.jpg,"a cup"'])
def test_a_caption_is_kept_whole(line, caption, after, read):
    """Whatever its commas and quotation marks; and the rows after it are rows."""
    rows = read(f"image,caption\n{line}{after}")
    assert captions(rows)[0] == caption
    assert [row["image"] for row in rows] == ["a.jpg", "b.jpg", "c.jpg"][: len(rows)]
    assert len(rows) == 1 + after.count("\n")


def test_a_mark_never_swallows_rows_without_suffixes(read):
    rows = read('image_id,caption\n8,"Hello\n9,a dog\n10,sign"\n')
    assert captions(rows) == ['"Hello', "a dog", 'sign"']


@pytest.mark.parametrize(
    "lines, message",
    [
        (["image,caption,split", "a.jpg,A dog, wet,train"], "line 2: 4 cells for 3 columns"),
        (["image,caption", "b.jpg,a cat", "a.jpg,A dog,0.93"], "line 3: 3 cells for 2 columns"),
        (["image, caption", "a.jpg, A dog, 0.93"], "line 2: 3 cells for 2 columns"),
        (["caption,image", "A dog, wet,a.jpg"], "line 2: 3 cells for 2 columns"),
        (["image\tcaption", "a.jpg\tA dog\twet"], "line 2: 3 cells .* have tabs in them"),
        (["image,caption,split", 'a.jpg,"A dog, wet,train'], "line 2: 4 cells for 3 columns"),
    ],
)
def test_a_row_that_does_not_fit_is_named(lines, message, read):
    with pytest.raises(DataError, match=f"captions.csv, {message}") as caught:
        read("\n".join(lines))
    assert "quotation marks" in str(caught.value) and "\n" not in str(caught.value)


def test_cells_of_several_lines(read):
    longest = "\n".join(f"line {n}" for n in range(MAX_CELL_LINES))
    assert captions(read(f'image,caption\na.jpg,"{longest}"\nb.jpg,b')) == [longest, "b"]
    # of more lines it is no cell: its marks stay, and its lines are rows that end too early
    rows = read(f'image,caption\na.jpg,"{longest}\nmore"\nb.jpg,b')
    assert captions(rows)[:2] == ['"line 0', None] and captions(rows)[-1] == "b"


def test_captions_before_photos(read):
    rows = read('caption,image\n"a dog\nruns",a.jpg\n"Hello,b.jpg\nsign",c.jpg\n')
    assert [row["image"] for row in rows] == ["a.jpg", "b.jpg", "c.jpg"]
    assert captions(rows) == ["a dog\nruns", '"Hello', 'sign"']


def test_columns_of_one_name_keep_their_cells(read):
    rows = read("image,Caption,caption,,\na.jpg,a dog,the dog,,")
    assert rows == [{"image": "a.jpg", "caption_1": "a dog", "caption_2": "the dog"}]
