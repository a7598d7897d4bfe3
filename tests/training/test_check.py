"""What the inspector tells of captioned photos, and on what it stops a run."""

import io

import pytest
from PIL import Image

from tests.support.tiny import draw_photo, tiny_captioner
from training.check import main
from training.data import CaptionedImage, read_data
from training.evaluation.data_checks import MIN_SIDE, check_data
from training.evaluation.photo_sheet import draw_photo_sheet

SPLITS = ["train"] * 20 + ["dev"] * 20


@pytest.fixture
def items(tmp_path):
    """Twenty train and twenty dev photos that nothing is wrong with."""
    found = []
    for number, split in enumerate(SPLITS):
        path = tmp_path / f"{number}.png"
        draw_photo(80, 64, (number * 6, 255 - number * 6, 90)).save(path)
        said = [f"A dog runs {number} times.", f"The dog is at {number}."]
        found.append(CaptionedImage(path.name, path, said, split))
    return found


def saying(items, *captions, split=None):
    """The items (of a split) with other captions."""
    return [
        CaptionedImage(i.name, i.path, list(captions), i.split) if split in (None, i.split) else i
        for i in items
    ]


def one_line(found: list[str]) -> str:
    (line,) = found
    assert "\n" not in line
    return line


def test_nothing_to_complain_of(items):
    report = check_data(items, tiny_captioner().network)
    assert report.stops == report.warnings == [] and report.readable == items
    text = "\n".join(report.lines())
    assert "train          20        20        40" in text
    assert "words per caption: 5 to 5, half up to 5, 95% up to 5" in text
    assert f"vocabulary: {len(report.vocabulary)} words, 0 of them seen once" in text
    assert report.vocabulary["dog"] == 80


@pytest.mark.parametrize("missing", ["train", "dev"])
def test_a_split_without_photos_stops(items, missing):
    report = check_data([item for item in items if item.split != missing])
    assert one_line(report.stops).startswith(f"no {missing} photos; add some")


def test_a_few_unreadable_photos_are_left_out(items):
    items[3].path.write_bytes(b"no photo")
    report = check_data(items)
    assert report.stops == [] and report.readable == items[:3] + items[4:]
    told = one_line(report.warnings)
    assert told.startswith("train photos missing or unreadable: 1 of 20, left out: ")
    assert "3.png: not an image" in told


def test_many_lost_photos_stop(items):
    items[3].path.unlink()
    items[4].path.write_bytes(b"")
    report = check_data(items)
    told = one_line(report.stops)
    assert told.startswith("train photos missing or unreadable: 2 of 20; check where")
    assert "3.png: missing" in told and "4.png: an empty file" in told
    assert len(report.readable) == 38


def test_a_photo_in_two_splits_stops(items):
    items[30].path.write_bytes(items[3].path.read_bytes())
    told = one_line(check_data(items).stops)
    assert told == "photos in two splits: 1; keep one of each: 3.png (train) = 30.png (dev)"


def test_a_photo_twice_in_a_split_is_told(items):
    items[4].path.write_bytes(items[3].path.read_bytes())
    report = check_data(items)
    assert report.stops == []
    assert one_line(report.warnings).endswith("more than once: 1: 3.png (train) = 4.png (train)")


def test_captions_that_are_all_the_same_stop(items):
    told = one_line(check_data(saying(items, "a photo", split="train")).stops)
    assert told == 'all train captions are "a photo"; nothing can be learned'


def test_a_caption_that_comes_often_is_told(items):
    report = check_data([*saying(items[:5], "a photo"), *items[5:]])
    assert report.stops == []
    assert '14% of the train captions are "a photo"' in one_line(report.warnings)


def test_photos_without_captions_are_told(items, tmp_path):
    draw_photo().save(tmp_path / "stranger.JPG")
    told = one_line(check_data(items).warnings)
    assert told == "photos without captions or in no split: 1, left out: stranger.JPG"


def test_small_photos_are_told(items):
    draw_photo(80, MIN_SIDE - 1, (1, 2, 3)).save(items[0].path)
    told = one_line(check_data(items).warnings)
    assert told == "photos with a side below 64 pixels: 1: 0.png (80 × 63)"


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda n: [f"a dog {n}"], "dev photos with one caption: 20 of 20; their CIDEr"),
        (
            lambda n: [f"a dog {n}", "..."],
            "captions without words: 40, left out, of 0.png",
        ),
        (lambda n: [f"A DOG {n}", f"DOG {n}"], "many captions are in capitals"),
        (lambda n: [f"狗在跑 {n}", f"собака {n}"], "in other than Latin letters"),
        (lambda n: [f"a {n}", f"{'very ' * 60}long {n}"], "than the 39 tokens that the decoder"),
    ],
)
def test_how_captions_are_written(items, change, message):
    items = [
        CaptionedImage(item.name, item.path, change(number), item.split)
        for number, item in enumerate(items)
    ]
    report = check_data(items, tiny_captioner().network)
    assert report.stops == [] and any(message in line for line in report.warnings)


def test_captions_without_words_are_not_used(items):
    """They come through Python; `read_corpora` has left them out before."""
    items[0].captions[:] = ["...", "a dog."]
    items[25].captions[:] = [" ! "]
    report = check_data(items, wordless=["x.png"])
    assert report.stops == [] and report.items == items
    assert one_line(report.warnings) == (
        "captions without words: 3, left out, of x.png, 0.png, 25.png"
    )
    assert report.readable[0].captions == ["a dog."]
    assert [i.name for i in report.readable] == [i.name for i in items if i is not items[25]]


def told_of_dev(items):
    return [line for line in check_data(items).warnings if line.startswith("dev photos:")]


def test_few_dev_photos_are_told(items):
    few = one_line(told_of_dev(items[:29]))
    assert few.startswith("dev photos: 9, too few to choose the best checkpoint by; add more")
    assert told_of_dev(items[:30]) == []


def test_dev_photos_that_cider_cannot_tell_apart_are_told(items):
    for some in (items[:21], [*items[:20], *saying(items[20:], "a dog", "it runs")]):
        told = one_line(told_of_dev(some))
        assert told.startswith(f"dev photos: {len(some) - 20}, with nothing in their captions")
        assert "the dev loss chooses the best checkpoint" in told


def test_nothing_at_all(tmp_path):
    report = check_data([])
    assert len(report.stops) == 2 and list(report.lines()) and report.readable == []
    draw_photo_sheet([])


def test_long_lists_are_cut(items):
    for item in items[:10]:
        item.path.unlink()
    assert "and 7 more" in one_line(check_data(items).stops)


def test_the_sheet_shows_each_split(items):
    picture = draw_photo_sheet(items, columns=3, side=50)
    assert picture.width > 3 * 50
    colours = {colour for _, colour in picture.getcolors(maxcolors=picture.width * picture.height)}
    for shown in (items[0], items[19], items[20], items[39]):  # from all over each split
        with Image.open(shown.path) as photo:
            brightest = photo.getpixel((0, 63))
        assert any(max(abs(a - b) for a, b in zip(c, brightest, strict=True)) < 9 for c in colours)


# --- on the command line -------------------------------------------------------------------------


def test_the_command_reports(flickr, capsys):
    output = flickr / "sheet.png"
    assert main([str(flickr), "--output", str(output)]) == 0
    told = capsys.readouterr().out
    assert f"{flickr}: flickr, splits as given" in told
    assert "train           4         4         8" in told and "stop:" not in told
    with Image.open(io.BytesIO(output.read_bytes())) as picture:
        assert picture.format == "PNG"


def test_the_command_fails_where_a_run_would_be_wasted(flickr, capsys):
    with (flickr / "Flickr8k.token.txt").open("a") as captions:
        captions.write("0.jpg#2\t \n")
    (flickr / "Flickr_8k.devImages.txt").write_text("1.jpg")
    assert main([str(flickr), "--format", "flickr"]) == 1
    told = capsys.readouterr().out
    assert "stop: photos in two splits: 1; keep one of each: 1.jpg (dev) = 1.jpg (train)" in told
    assert "warning: captions without words: 1, left out, of 0.jpg" in told
    assert len(read_data(flickr)) == 5


def test_the_commands_errors_are_one_line(tmp_path, capsys, monkeypatch):
    assert main([str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and "found neither" in error
    monkeypatch.setattr(
        "training.check.read_corpora", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    assert main([str(tmp_path)]) == 130
    assert capsys.readouterr().err == ""
