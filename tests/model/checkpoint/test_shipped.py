"""The checkpoint that ships: small, whole, and at work on the example photos."""

import numpy as np
import pytest
from PIL import Image

from model import load
from model.checkpoint.hub import SHIPPED
from model.images import load_image
from tests.support.paths import EXAMPLES
from training.evaluation.boxes import BoxCoverage, Boxes
from training.evaluation.map_scores import list_candidates

BOXES = Boxes.load(EXAMPLES[0].parent / "instances.json")
# A sentence for each photo with boxes; the word that the boxes are of is the second.
SENTENCES = {
    "astronaut.jpg": "A woman is smiling.",
    "cat.jpg": "A cat looks up.",
    "coffee.jpg": "A cup on a table.",
    "photographer.jpg": "A man is standing.",
}


@pytest.fixture(scope="module")
def captioner():
    return load()


def test_it_fits_in_the_repository():
    assert sum(p.stat().st_size for p in SHIPPED.iterdir()) < 90e6
    assert (SHIPPED / "README.md").is_file()


def test_every_example_has_a_caption_with_maps(captioner):
    photos = captioner.encode(EXAMPLES)
    captions = [captions[0] for captions in captioner.captions(photos)]
    assert len(captions) == len(EXAMPLES) >= 5
    assert len({caption.text for caption in captions}) == len(captions)
    for caption in captions:
        assert caption.tokens[-1] == captioner.network.tokenizer.end
        assert caption.text[0].isupper() and caption.text.endswith(".")
        assert 4 <= len(caption.words) <= 30
    explanation = captioner.explain(photos[0], captions[0])
    for method in ("attention", "gradient"):
        assert explanation.heatmap(1, method).shape == (16, 16)


def test_a_sentence_that_fits_is_likelier_than_one_that_does_not(captioner):
    (photo,) = captioner.encode(path for path in EXAMPLES if path.stem == "photographer")
    fits = captioner.explain(photo, "A man is standing outside.")
    misses = captioner.explain(photo, "A dog is swimming in water.")
    assert fits.log_probability > misses.log_probability


def measure_pointing(captioner, questions) -> dict[str, np.ndarray]:
    """(hit rate, share of the mass inside the boxes) of the default map and the centre's.

    questions: (image, sentence, BoxCoverage of its second word) each.
    """
    centre = next(c for c in list_candidates(captioner.network, 0) if c.name == "centre")
    scores = {"default": [], "centre": []}
    for image, sentence, inside in questions:
        explanation = captioner.explain(image, sentence)
        scores["default"].append(inside.score(explanation.heatmap(1)))
        scores["centre"].append(inside.score(centre.draw(explanation, 1)))
    means = {name: np.mean(each, axis=0) for name, each in scores.items()}
    print(means)  # for the documents, with -s
    return means


def test_maps_lie_in_the_boxes_more_than_the_centre_does(captioner):
    """The boxes are large and hold the photos' centres, all but the spoon's; so the mass is asked
    for, not the peak."""
    grid = captioner.network.encoder.grid_size
    photos = {path.name: captioner.encode([path])[0] for path in EXAMPLES if path.name in BOXES}
    assert photos.keys() == SENTENCES.keys()
    sentences = [*SENTENCES.items(), ("coffee.jpg", "A spoon on a plate.")]
    questions = [(photos[n], text, BOXES.locate(n, text.split()[1], grid)) for n, text in sentences]
    scores = measure_pointing(captioner, questions)
    assert scores["default"][1] > scores["centre"][1] + 0.03


@pytest.mark.slow
def test_pointing_game_where_the_centre_is_no_answer(captioner):
    """The four photos as one picture, each in every quarter once: a map has to find the quarter
    that the word is about. Both people count for "man" and for "woman"."""
    rows, cols = captioner.network.encoder.grid_size
    photos = {n: load_image(EXAMPLES[0].parent / n).resize((224, 224)) for n in SENTENCES}
    nowhere = BoxCoverage(np.zeros((rows // 2, cols // 2)))
    questions = []
    for turn in range(4):
        order = np.roll(list(SENTENCES), turn).tolist()
        picture = Image.new("RGB", (448, 448))
        for i, name in enumerate(order):
            picture.paste(photos[name], (i % 2 * 224, i // 2 * 224))
        encoded = captioner.encode([picture])[0]
        for sentence in SENTENCES.values():
            word = sentence.split()[1]
            a, b, c, d = [
                (BOXES.locate(n, word, nowhere.patches.shape) or nowhere).patches for n in order
            ]
            questions.append((encoded, sentence, BoxCoverage(np.block([[a, b], [c, d]]))))
    scores = measure_pointing(captioner, questions)
    # not the centre alone: who guesses a quarter is right in one of four
    assert scores["default"][0] > max(scores["centre"][0], 0.25) + 0.05
    assert scores["default"][1] > scores["centre"][1] + 0.07
