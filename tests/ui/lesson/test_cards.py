"""The lesson's cards and pictures say the numbers of the step."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from model.lesson.steps import take_step_apart
from tests.support.lesson import GRID, HEADS
from tests.support.tiny import draw_photo
from ui.lesson.cards import render_step_cards
from ui.lesson.pictures import draw_share_map, format_number


def test_cards_say_the_numbers_of_the_step(captioner, features, caption):
    step = take_step_apart(captioner.network, features, caption, 1, 1, 0)
    query, scores, softmax, output, words = render_step_cards(
        draw_photo(90, 60), captioner, caption, step, word=1, layer=1, head=0
    )
    assert "has written “A”, and is about to choose “zebra” (in " in query
    assert format_number(step.query[0]) in query
    patches = step.weights[1:].reshape(GRID)
    row, col = np.argwhere(patches == patches.max())[0]
    assert (
        f"at row {row}, column {col}" in scores and format_number(step.scores[1:].max()) in scores
    )
    assert f"best patch gets {patches.max():.3f}" in softmax
    assert f"CLS (the whole photo) gets {step.weights[0]:.3f}" in softmax and ">1.000<" in softmax
    assert f"<strong>{format_number(step.output[0])}</strong>" in output
    assert output.count("<img") == HEADS and output.count("chosen</figcaption>") == 1
    for name, share in zip(("start mark", "A"), step.self_weights[-1], strict=True):
        assert f">{name}</th>" in words and f"<td>{share:.3f}</td>" in words


def test_the_frame_is_around_the_largest_patch():
    shares = np.zeros(GRID)
    shares[1, 4] = 1
    html = draw_share_map(Image.new("RGB", (120, 60), "black"), shares, "")
    assert "Highest at row 1, column 4." in html
    data = base64.b64decode(html.partition("base64,")[2].partition('"')[0])
    bright = np.asarray(Image.open(io.BytesIO(data)).convert("L")) > 200
    rows, cols = np.nonzero(bright)  # the patch is 20 × 20 pixels, from (80, 20)
    assert (rows.min(), rows.max()) == pytest.approx((18, 42), abs=2)
    assert (cols.min(), cols.max()) == pytest.approx((78, 102), abs=2)
