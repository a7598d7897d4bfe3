"""Metrics and their tokenizer. Runs without Java; with it, the frozen words are checked too."""

import json
import math
from dataclasses import asdict

import pytest
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from model.corpora.ptb_tokenizer import tokenize
from training.evaluation import metrics
from training.evaluation.metrics import (
    can_cider_rise,
    can_run_java,
    compute_cider_scores,
    score_captions,
)

needs_java = pytest.mark.skipif(not can_run_java(), reason="needs java")

# caption -> what pycocoevalcap 1.2's PTBTokenizer made of it (Java 17)
WORDS = {
    "A red kite climbs above the harbour .": "a red kite climbs above the harbour",
    "Two cats sleep on the sofa.": "two cats sleep on the sofa",
    "I don't think they've won .": "i do n't think they 've won",
    "She can't and we won't .": "she ca n't and we wo n't",
    "The girl's kite isn't the boys' , it 's hers": "the girl 's kite is n't the boys it 's hers",
    "He'll say we're late , I'm sure you'd too": "he 'll say we 're late i 'm sure you 'd too",
    "She cannot swim but is gonna try .": "she can not swim but is gon na try",
    "I wanna watch": "i wan na watch",
    "You gotta lemme see , gimme that !": "you got ta lem me see gim me that",
    "'Tis a ship and 'twas a boat , y'all .": "'t is a ship and 't was a boat y' all",
    "Tell 'em to wait 'til noon 'cause it rains .": "tell 'em to wait 'til noon 'cause it rains",
    "A rock 'n' roll band of the '80s and 1990's": "a rock 'n' roll band of the '80s and 1990 's",
    "Ma'am , it is four o'clock said Mrs. O'Neil .": "ma'am it is four o'clock said mrs. o'neil",
    "A hawai'i shirt and an ol' hat": "a hawai'i shirt and an ol' hat",
    'A cup marked "hot tea" stands there .': "a cup marked hot tea stands there",
    'A cup marked " hot tea . "': "a cup marked hot tea",
    "The sign says 'closed' today .": "the sign says closed today",
    "“It’s mine” — the sailor’s parrot said…": "it 's mine the sailor 's parrot said",
    "Wait ... what is that....": "wait what is that",
    "Look out! Is it real? Yes!! No?!": "look out is it real yes !! no ?!",
    "A boy ; a girl : two - one kite -- no wind": "a boy a girl two one kite no wind",
    "A black-and-white cow in a t-shirt": "a black-and-white cow in a t-shirt",
    "A pre- and post-war car": "a pre and post-war car",
    "A bird's-eye view of a merry-go-round": "a bird 's eye view of a merry-go-round",
    "A clown ( with a wig ) (waves)": "a clown -lrb- with a wig -rrb- -lrb- waves -rrb-",
    "[ sic ] {braces}": "-lsb- sic -rsb- -lcb- braces -rcb-",
    "Mr. Hill and Dr. Wood on Main St. by Mt. Fu": "mr. hill and dr. wood on main st. by mt. fu",
    "The U.S. flag at 3 p.m. on a U.S. ship": "the u.s. flag at 3 p.m. on a u.s. ship",
    "A letter P. on a door": "a letter p. on a door",
    "Horse No. 7 of the sign that says no .": "horse no. 7 of the sign that says no",
    "A 4x4 truck , 1/2 mile , 3.5 tons , 10,000 fans": "a 4x4 truck 1/2 mile 3.5 tons 10,000 fans",
    "10:30 or 7:30pm": "10:30 or 7:30 pm",
    "A 50% sale at $20": "a 50 % sale at $ 20",
    "Horse #23 , #kite and @harbour": "horse # 23 #kite and @harbour",
    "Salt & pepper , B&W film , a&b": "salt & pepper b&w film a & b",
    "A white/brown goat w/ bells and/or ribbons": "a white/brown goat w / bells and/or ribbons",
    "The kite falls.The boy cries,then laughs .": "the kite falls.the boy cries then laughs",
    "See www.kites.com or mail me@kites.com": "see www.kites.com or mail me@kites.com",
    "At http://kites.com/new": "at http://kites.com/new",
    "A <unk> on a café table in a naïve drawing": "a <unk> on a café table in a naïve drawing",
    "½ of a plank , one + one = two": "1/2 of a plank one + one = two",
    "‘Mine’ is «2–3» metres , ¼ or ¾ , £5 or €5": "mine is 2 3 metres 1/4 or 3/4 # 5 or $ 5",
    "The 'nice' , 'open' 'estuary' 'toy'": "the nice open estuary toy",
    "The o's and d's": "the o 's and d 's",
    "A boat ,with sails .": "a boat with sails",
    "   ": "",
    ".": "",
}

CAPTIONS = {
    "boat": "a white boat sails across the calm bay",
    "goat": "one brown goat stands on a steep rock",
    "kite": "two children fly their kite over a field",
}
REFERENCES = {image: [caption] for image, caption in CAPTIONS.items()}


@pytest.fixture(autouse=True)
def without_meteor(monkeypatch):
    monkeypatch.setattr(metrics, "can_run_java", lambda: False)


@pytest.mark.parametrize("caption", WORDS)
def test_tokenizer_agrees_with_the_words_java_gave(caption):
    assert tokenize(caption) == WORDS[caption].split()


@needs_java
def test_frozen_words_are_what_java_gives():
    given = PTBTokenizer().tokenize({text: [{"caption": text}] for text in WORDS})
    assert {text: words[0].split() for text, words in given.items()} == {
        text: words.split() for text, words in WORDS.items()
    }


def test_captions_equal_to_their_reference_get_full_points():
    points = score_captions(CAPTIONS, REFERENCES).points
    assert set(points) == {"BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"}
    cider = points.pop("CIDEr")
    assert cider == pytest.approx(1000)
    assert points == pytest.approx(dict.fromkeys(points, 100))


def test_cider_wants_the_right_words_in_the_right_order():
    backwards = {image: " ".join(caption.split()[::-1]) for image, caption in CAPTIONS.items()}
    rotated = dict(zip(CAPTIONS, [*list(CAPTIONS.values())[1:], CAPTIONS["boat"]], strict=True))
    right = compute_cider_scores(CAPTIONS, REFERENCES)
    assert (right > 2 * compute_cider_scores(backwards, REFERENCES)).all()
    assert (right > 10 * compute_cider_scores(rotated, REFERENCES)).all()


def test_bleu_and_rouge_by_hand():
    points = score_captions({"x": "A dog runs ."}, {"x": ["A big dog runs fast"]}).points
    # all 3 words are right, 3 against 5 words; LCS "a dog runs": precision 1, recall 3/5
    assert points["BLEU-1"] == pytest.approx(100 * math.exp(1 - 5 / 3))
    assert points["ROUGE-L"] == pytest.approx(100 * 2.44 * 0.6 / (0.6 + 1.44))


def test_bleu_counts_a_repeated_word_as_often_as_a_reference_has_it():
    points = score_captions({"x": "dog dog dog dog"}, {"x": ["a dog", "dog and a dog"]}).points
    assert points["BLEU-1"] == pytest.approx(50)


def test_cider_weighs_words_by_the_whole_reference_corpus():
    candidate = {"x": "dog jumps"}
    rare = {"x": ["dog sleeps"], "y": ["two cats"], "z": ["a horse"]}
    common = {"x": ["dog sleeps"], "y": ["dog eats"], "z": ["dog barks"]}
    # rare: one of two equally heavy words is shared, cosine 1/2, and no longer n-gram: 1000 / 2 / 4
    assert compute_cider_scores(candidate, rare) == pytest.approx([125])
    assert compute_cider_scores(candidate, common) == pytest.approx([0])


def test_cider_scores_keep_the_order_of_the_candidates():
    candidates = {"kite": CAPTIONS["kite"], "goat": "nothing of it", "boat": "a white boat sails"}
    scores = compute_cider_scores(candidates, REFERENCES)
    assert scores[0] == pytest.approx(1000)
    assert scores[1] == 0
    assert 0 < scores[2] < 1000
    assert scores.mean() == pytest.approx(score_captions(candidates, REFERENCES).points["CIDEr"])


def test_images_without_a_candidate_are_not_scored():
    scores = score_captions({"goat": CAPTIONS["goat"]}, REFERENCES)
    assert scores.num_images == 1
    assert scores.points["CIDEr"] == pytest.approx(1000)
    assert scores.points["BLEU-4"] == pytest.approx(100)


@pytest.mark.parametrize("empty", ["", "  ", " . "])
def test_an_empty_caption_scores_nothing(empty):
    points = score_captions({"boat": empty}, REFERENCES).points
    assert points == pytest.approx(dict.fromkeys(points, 0))


@pytest.mark.parametrize("wordless", [[], ["..."], [" ", "!"]])
def test_an_image_without_words_in_its_references_is_left_out(wordless):
    references = {**REFERENCES, "dots": wordless, "boat": [*REFERENCES["boat"], "..."]}
    candidates = {"dots": "a dog", **CAPTIONS}
    scores = score_captions(candidates, references)
    assert scores.unscored == ("dots",) and scores.num_images == 3
    assert scores.points == score_captions(CAPTIONS, REFERENCES).points
    first, *others = compute_cider_scores(candidates, references)
    assert math.isnan(first) and others == pytest.approx(compute_cider_scores(CAPTIONS, REFERENCES))


@pytest.mark.parametrize(
    "references, answer",
    [
        ([], False),
        ([["a dog runs"]], False),
        ([["a dog", "it runs"], ["a dog", "it runs"]], False),
        ([["a dog"], ["..."]], False),
        ([["a dog"], ["dog a"]], True),
        ([["a dog", "it runs"], ["a dog"]], True),
        ([["a dog"]] * 20 + [["a cat"]], True),
    ],
)
def test_whether_cider_can_rise(references, answer):
    assert can_cider_rise(dict(enumerate(references))) == answer


def test_scores_go_into_json_and_say_how_they_were_made(capsys):
    scores = score_captions(CAPTIONS, REFERENCES)
    assert capsys.readouterr().out == ""
    record = json.loads(json.dumps(asdict(scores)))
    assert record["points"] == scores.points
    assert record["made_with"].keys() == scores.points.keys()
    assert record["made_with"]["CIDEr"]["implementation"].startswith("pycocoevalcap ")
    assert "ptb_tokenizer" in record["made_with"]["CIDEr"]["tokenizer"]


@needs_java
@pytest.mark.slow
def test_meteor(monkeypatch):
    monkeypatch.setattr(metrics, "can_run_java", lambda: True)
    half = {"boat": CAPTIONS["boat"], "goat": ""}  # one call: Java takes seconds to start
    assert 40 < score_captions(half, REFERENCES).points["METEOR"] < 60


def test_a_java_that_does_not_run_is_no_java(monkeypatch, tmp_path):
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\nexit 1\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not can_run_java()


@pytest.mark.parametrize(
    ("candidates", "references", "message"),
    [
        ({}, REFERENCES, "no captions to score"),
        (CAPTIONS, {}, "3 of 3 captions have no references"),
        ({"dog": "a dog"}, REFERENCES, "1 of 1 captions have no references .'dog'"),
        ({"x": "a dog"}, {"x": []}, "'x' has no reference with words"),
        ({"x": "a dog"}, {"x": [" . "]}, "'x' has no reference with words"),
        ({"x": "a dog"}, {"x": "a dog"}, "references of 'x' are one string"),
    ],
)
def test_input_that_cannot_be_scored(candidates, references, message):
    for score in (score_captions, compute_cider_scores):
        with pytest.raises(ValueError, match=message) as error:
            score(candidates, references)
        assert "\n" not in str(error.value)
