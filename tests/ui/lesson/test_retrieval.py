"""Step 7 of the lesson: sentences of the visitor's, looked at beside the photo."""

from types import SimpleNamespace

import pytest

from model.lesson.steps import take_retrieval_apart
from tests.support.tiny import draw_photo, tiny_captioner, tiny_captioner_with_memory
from ui.lesson import tab as lesson_tab
from ui.lesson.cards import render_retrieval_card
from ui.lesson.pictures import format_number

HOSTILE = "A <img/src=x/onerror=x()> ${1+1} {{ 7 * 7 }} dog"


@pytest.fixture(scope="module")
def captioner():
    return tiny_captioner_with_memory((42, 84))


def begin(captioner, sentences):
    """The last values of a lesson: the card of step 7 is the last of them."""
    captioners = SimpleNamespace(get=lambda name: captioner)
    *_, values = lesson_tab.start_lesson(captioners, draw_photo(), "any", sentences)
    return captioners, values


def test_the_card_says_the_numbers_of_the_step(captioner):
    photo = captioner.encode([draw_photo()])[0]
    caption = captioner.explain(photo, "A dog in the grass.").caption
    retrieval = take_retrieval_apart(
        captioner.network, photo.image_features, ["A cat.", "Two dogs run."], caption, 1, 1, 0
    )
    card = render_retrieval_card(retrieval, captioner, "dog", 1, 0)
    weights = retrieval.step.weights
    assert f"words in your sentences, {len(weights)} in all" in card
    for name, share in {
        "CLS (the whole photo)": weights[0],
        "18 patches": weights[1:19].sum(),
        "“A cat.”": sum(retrieval.word_weights[0]),
        "Two": retrieval.word_weights[1][0],
    }.items():
        row = card.partition(f">{name}</th>")[2].partition("</tr>")[0]
        assert f"<td>{format_number(share, 3)}</td>" in row


def test_two_sentences_that_are_the_same_have_a_row_each(captioner):
    _, values = begin(captioner, "A cat.\nA cat.")
    assert values[-1].count(">“A cat.”</th>") == 2


def test_sentences_are_looked_at_at_once_and_are_text(captioner):
    captioners, values = begin(captioner, HOSTILE)
    assert "&lt;img/src=x/onerror=x()&gt;" in values[-1] and "<img/src" not in values[-1]
    lesson = values[0]
    shares = set()
    for text in ("A cat.", "A brown dog runs.", "\n".join(["A rock."] * 9)):
        *_, card = lesson_tab.show_step(captioners, lesson, 0, 0, 0, text)
        shares.add(card)
        assert card.count("<h3>") == min(5, len(text.splitlines()))
    assert len(shares) == 3
    *_, card = lesson_tab.show_step(captioners, lesson, 0, 0, 0, " \n")
    assert lesson_tab.NO_SENTENCES in card


def test_a_model_that_has_not_learned_it_says_so():
    _, values = begin(tiny_captioner((42, 84)), "A cat.")
    assert "has not learned to look at sentences" in values[-1]
    assert not values[4]["visible"]  # the box for sentences
