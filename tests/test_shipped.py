"""The checkpoint that ships: small, whole, and at work on the example photos."""

from pathlib import Path

import pytest

from model import load
from model.captioner import SHIPPED

EXAMPLES = sorted((Path(__file__).parent.parent / "assets" / "examples").glob("*.jpg"))


@pytest.fixture(scope="module")
def captioner():
    return load()


def test_it_fits_in_the_repository():
    assert sum(p.stat().st_size for p in SHIPPED.iterdir()) < 90e6
    assert (SHIPPED / "README.md").is_file()


def test_every_example_has_a_caption_with_maps(captioner):
    features = captioner.encode(EXAMPLES)
    captions = [found[0] for found in captioner.captions(features)]
    assert len(captions) == len(EXAMPLES) >= 5
    assert len({caption.text for caption in captions}) == len(captions)
    for caption in captions:
        assert caption.tokens[-1] == captioner.tokenizer.end
        assert caption.text[0].isupper() and caption.text.endswith(".")
        assert 4 <= len(caption.words) <= 30
    explanation = captioner.explain(features[0], captions[0])
    for method in ("attention", "gradient"):
        assert explanation.heatmap(1, method).shape == (16, 16)


def test_a_sentence_that_fits_is_likelier_than_one_that_does_not(captioner):
    (photo,) = (path for path in EXAMPLES if path.stem == "photographer")
    features = captioner.encode([photo])[0]
    fits = captioner.explain(features, "A man is standing outside.")
    misses = captioner.explain(features, "A dog is swimming in water.")
    assert fits.log_probability > misses.log_probability
