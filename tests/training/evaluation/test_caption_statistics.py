"""Counts of what captions do, on captions where they are known."""

from training.evaluation.caption_statistics import compute_statistics

REFERENCES = {
    "a": ["A brown dog and a brown dog run on", "two dogs"],
    "b": ["Three men in red shirts .", "Some men"],
    "c": ["A girl jumps .", "the girl"],
    "d": ["A girl jumps .", "the girl"],
}


def test_counts():
    captions = {
        "a": "Two brown dogs run on the sand.",
        "b": "A man in a red shirt and a red shirt and two green hats.",
        "c": "A girl is in a",
        "d": "A girl jumps.",
    }
    assert compute_statistics(captions, REFERENCES) == {
        "distinct_captions": 4,
        "distinct_words": 18,
        "repeating": 1,  # "a red", "red shirt", "shirt and"
        "breaking_off": 1,
        "colours": [2, 3],  # green is nobody's
        "numbers": [1, 2],  # two dogs there are, two hats nobody saw
        "people": {"repeating": 1, "breaking_off": 1},
    }


def test_no_words_is_broken_off():
    assert compute_statistics({"d": ""}, REFERENCES)["breaking_off"] == 1
