"""A run that has collapsed is told from one that has not begun to speak, and the curve is drawn."""

from PIL import Image

from training.loop.callbacks import RunMonitor, describe_best, draw_curve, find_best


def evaluations(*distinct, unending=0.0):
    return [
        {"eval_cider": 10.0, "eval_distinct": d, "eval_unending": unending, "epoch": i + 1}
        for i, d in enumerate(distinct)
    ]


def test_one_caption_for_all(tmp_path):
    monitor = RunMonitor(tmp_path, num_dev_photos=20)
    one = 1 / 20
    assert monitor.find_collapse(evaluations(0.5, 0.1)) is None
    assert monitor.find_collapse(evaluations(one, one)) is None  # it may yet begin
    assert monitor.find_collapse(evaluations(one, one, 0.1)) is None
    assert "same caption" in monitor.find_collapse(evaluations(one, one, one))
    assert "same caption" in monitor.find_collapse(evaluations(0.1, one))  # it had begun
    alike = RunMonitor(tmp_path, num_dev_photos=20, same_references=True)
    assert alike.find_collapse(evaluations(one, one, one)) is None
    assert "never end" in alike.find_collapse(evaluations(one, one, one, unending=1))
    assert RunMonitor(tmp_path, num_dev_photos=3).find_collapse(evaluations(1, 1 / 3)) is None


def test_captions_that_never_end(tmp_path):
    monitor = RunMonitor(tmp_path, num_dev_photos=20)
    assert monitor.find_collapse(evaluations(0.9, 0.9, 0.9, unending=0.4)) is None
    reason = monitor.find_collapse(evaluations(0.9) + evaluations(0.9, unending=0.8))
    assert "never end" in reason and "--rate" in reason and "\n" not in reason


def scores(*pairs):
    return [
        {"eval_cider": cider, "eval_loss": loss, "epoch": i + 1}
        for i, (cider, loss) in enumerate(pairs)
    ]


def test_cider_tells_the_best_and_the_loss_where_it_cannot():
    assert find_best(scores((1, 3), (20, 2), (19.99, 1)))["epoch"] == 2
    assert find_best(scores((0, 3), (0, 2), (0, 2.5)))["epoch"] == 2
    assert find_best(scores((5, 3), (5, 2), (0, 1)))["epoch"] == 2
    assert find_best(scores((0, 1), (0.01, 9)))["epoch"] == 2
    assert find_best([{"loss": 1}]) is None
    assert describe_best(scores((1, 3), (20, 2))) == "dev CIDEr 20.0"
    assert describe_best(scores((0, 3), (0, 2))) == "dev loss 2.000 (dev CIDEr was 0 throughout)"
    assert describe_best([{"eval_cider": 0.0}]) == "dev CIDEr 0.0"  # of an older run


def test_the_curve_shows_what_decides(tmp_path):
    """Not a line of zeros."""
    pictures = []
    for n, loss in enumerate((2.0, 1.0)):
        draw_curve(scores((0, 3), (0, loss)), tmp_path / f"{n}.png")
        pictures.append((tmp_path / f"{n}.png").read_bytes())
    assert pictures[0] != pictures[1]
    draw_curve(scores((7, 3), (8, 2)), tmp_path / "a.png")
    draw_curve(scores((7, 3), (8, 1)), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


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
