"""A run that has collapsed is told from one that has not begun to speak, and the curve is drawn."""

from PIL import Image

from training.course import Course, draw_curve


def evaluations(*distinct, unending=0.0):
    return [
        {"eval_cider": 10.0, "eval_distinct": d, "eval_unending": unending, "epoch": i + 1}
        for i, d in enumerate(distinct)
    ]


def test_one_caption_for_all(tmp_path):
    course = Course(tmp_path, dev_photos=20)
    one = 1 / 20
    assert course.collapsed(evaluations(0.5, 0.1)) is None
    assert course.collapsed(evaluations(one, one)) is None  # it may yet begin
    assert course.collapsed(evaluations(one, one, 0.1)) is None
    assert "same caption" in course.collapsed(evaluations(one, one, one))
    assert "same caption" in course.collapsed(evaluations(0.1, one))  # it had begun
    assert Course(tmp_path, dev_photos=3).collapsed(evaluations(1, 1 / 3)) is None


def test_captions_that_never_end(tmp_path):
    course = Course(tmp_path, dev_photos=20)
    assert course.collapsed(evaluations(0.9, 0.9, 0.9, unending=0.4)) is None
    reason = course.collapsed(evaluations(0.9) + evaluations(0.9, unending=0.8))
    assert "never end" in reason and "--rate" in reason and "\n" not in reason


def test_the_curve(tmp_path):
    history = [{"loss": 5 / (i + 1), "epoch": i / 4} for i in range(12)] + evaluations(
        0.4, 0.5, 0.6
    )
    draw_curve(history, tmp_path / "curve.png")
    empty = tmp_path / "empty.png"
    draw_curve([], empty)
    with Image.open(tmp_path / "curve.png") as curve, Image.open(empty) as nothing:
        assert curve.size == nothing.size and curve.size[0] > 600
        assert curve.tobytes() != nothing.tobytes()
